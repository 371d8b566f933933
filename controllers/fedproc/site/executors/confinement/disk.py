"""How full a job's folder is, and whose it is. Looked at in small pieces, so that nobody else waits meanwhile."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path

MAX_DEPTH = 256
"""folders in folders; more is no analysis, and breaks those who clean up"""
_PIECE = 500
_ENTRY = 512
"""bytes that an entry counts besides its blocks, so that files without content cannot be made without end"""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TooDeepError(Exception):
    """Folders are nested deeper than :data:`MAX_DEPTH`."""


async def used(folders: Sequence[str], enough: int, processes: Iterable[int] = ()) -> int:
    """Bytes on disk below the folders, and of the files there that ``processes`` removed but hold open.

    Looking ends once ``enough`` is passed. Raises :class:`TooDeepError`.
    """
    total = 0
    for folder in folders:
        async with aclosing(walk(folder)) as entries:
            async for _, _, found in entries:
                total += found.st_blocks * 512 + _ENTRY
                if total > enough:
                    return total
    devices = {found.st_dev for found in map(_stat, folders) if found}
    return total + await _removed_but_open(devices, processes, enough - total)


def let_pass(workspace: Path, uid: int) -> None:
    """Give the folder that a job's workspace lies in, itself alone, to whose the job is: nobody else may pass it."""
    if uid != os.geteuid():
        os.chown(workspace.parent, uid, -1, follow_symlinks=False)


def group_of(uid: int) -> int:
    """The group that goes with a job's user: of the same number, but for this process' own user, who has his own."""
    return os.getegid() if uid == os.geteuid() else uid


async def own(folder: str, uid: int, gid: int | None = None) -> None:
    """Make a user the owner of the folder and all in it; a link is changed itself, never followed."""
    gid = group_of(uid) if gid is None else gid
    os.chown(folder, uid, gid, follow_symlinks=False)
    async with aclosing(walk(folder)) as entries:
        async for parent, name, _ in entries:
            with suppress(FileNotFoundError):
                os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)


async def walk(folder: str) -> AsyncGenerator[tuple[int, str, os.stat_result], None]:
    """Each entry below ``folder``: a descriptor of its parent, its name, what it is. No link is followed.

    Raises :class:`TooDeepError`. What disappears meanwhile is left out.
    """
    try:
        levels = [_Level(os.open(folder, _FOLDER))]
    except FileNotFoundError:
        return
    seen = 0
    try:
        while levels:
            entry = next(levels[-1].entries, None)
            if entry is None:
                levels.pop().close()
                continue
            seen += 1
            if seen % _PIECE == 0:
                await asyncio.sleep(0)
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                yield levels[-1].descriptor, entry.name, found
                if stat.S_ISDIR(found.st_mode):
                    levels.append(_Level(os.open(entry.name, _FOLDER, dir_fd=levels[-1].descriptor)))
            if len(levels) > MAX_DEPTH:
                raise TooDeepError(f"it nested folders deeper than {MAX_DEPTH}")
    finally:
        for level in levels:
            level.close()


class _Level:
    """One folder on the way down, held open so that nobody can put another in its place."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.entries = os.scandir(descriptor)

    def close(self) -> None:
        self.entries.close()
        os.close(self.descriptor)


async def _removed_but_open(devices: set[int], processes: Iterable[int], enough: int) -> int:
    """A removed file takes its room until it is closed, and no folder shows it."""
    total, known = 0, set()
    for process in processes:
        await asyncio.sleep(0)
        with suppress(OSError), os.scandir(f"/proc/{process}/fd") as descriptors:
            for descriptor in descriptors:
                found = _stat(descriptor.path)
                if found is None or found.st_nlink or found.st_dev not in devices or not stat.S_ISREG(found.st_mode):
                    continue
                if found.st_ino not in known:
                    known.add(found.st_ino)
                    total += found.st_blocks * 512
                if total > enough:
                    return total
    return total


def _stat(path: str) -> os.stat_result | None:
    with suppress(OSError):
        return Path(path).stat()
    return None
