"""All that lies below a dataset's folder, in one order, and a fingerprint of how it stands there."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fedproc.common.tasks import StopFlag

FILE, LINK, OTHER, UNREADABLE = "file", "link", "other", "unreadable"


class Entry(NamedTuple):
    """What is no folder: its path below the dataset's as the system has it, what it is, and how it stands.

    ``kind`` is one of :data:`FILE`, :data:`LINK`, :data:`OTHER` (a pipe, a socket, a device) and :data:`UNREADABLE`
    (a folder that cannot be looked into). ``size`` is in bytes, ``mtime`` in nanoseconds.
    """

    path: bytes
    kind: str
    size: int = 0
    mtime: int = 0
    inode: int = 0


@dataclass(frozen=True)
class FolderState:
    """How a folder stands: the same ``fingerprint`` as long as no name, length, time or inode has changed."""

    fingerprint: str
    files: int
    size: int


def walk(folder: Path, flag: StopFlag) -> Iterator[Entry]:
    """Everything below, folder by folder, each in the order of its names; no link is followed.

    Raises OSError where the folder itself cannot be looked into, and StoppedError.
    """
    root, pending = os.fsencode(folder) + b"/", [b""]
    while pending:
        prefix = pending.pop()
        flag.check()
        try:
            with os.scandir(root + prefix) as found:
                listed = sorted(found, key=lambda entry: entry.name)
        except FileNotFoundError:
            if not prefix:
                raise
            continue  # it went while the others were looked at
        except OSError:
            if not prefix:
                raise
            yield Entry(prefix.rstrip(b"/"), UNREADABLE)
            continue
        pending += [prefix + entry.name + b"/" for entry in reversed(listed) if entry.is_dir(follow_symlinks=False)]
        yield from _of_folder(prefix, listed)


def _of_folder(prefix: bytes, listed: Iterable[os.DirEntry[bytes]]) -> Iterator[Entry]:
    for entry in listed:
        if entry.is_dir(follow_symlinks=False):
            continue
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError:
            yield Entry(prefix + entry.name, UNREADABLE)
            continue
        yield entry_of(prefix + entry.name, found)


def entry_of(path: bytes, found: os.stat_result) -> Entry:
    """The entry of a file by its stat."""
    kind = FILE if stat.S_ISREG(found.st_mode) else LINK if stat.S_ISLNK(found.st_mode) else OTHER
    return Entry(path, kind, found.st_size, found.st_mtime_ns, found.st_ino)


class Fingerprint:
    """Gathers a :class:`FolderState` from entries, in the order of :func:`walk`."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._files = 0
        self._size = 0

    def add(self, entry: Entry) -> None:
        """The next entry."""
        self._digest.update(b"%d %b %b %d %d %d\n" % (len(entry.path), entry.path, entry.kind.encode(), *entry[2:]))
        if entry.kind == FILE:
            self._files += 1
            self._size += entry.size

    def folder_state(self) -> FolderState:
        """Of all that was added."""
        return FolderState(self._digest.hexdigest(), self._files, self._size)


def folder_state(folder: Path, flag: StopFlag) -> FolderState:
    """How the folder stands now; raises as :func:`walk` does."""
    found = Fingerprint()
    for entry in walk(folder, flag):
        found.add(entry)
    return found.folder_state()


def shown(path: bytes) -> str:
    """A path as every message and every terminal takes it: what is no UTF-8, or no character to print, is escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
