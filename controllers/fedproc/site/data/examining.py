"""One file of a dataset: its hash, what it is by its content, and what is wrong with it."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fedproc.common.tasks import StopFlag
from fedproc.site.data.dicom import Instance, read
from fedproc.site.data.walking import FILE, LINK, OTHER, UNREADABLE, Entry, entry_of

UNSETTLED = -1
"""as its time: it was changed so shortly before it was read that it is read again next time"""
_CHUNK = 1 << 20
_SETTLED_SECONDS = 2.0
"""a change within these may leave a file's time as it was"""
NO_HASH = bytes(32)
"""of what could not be read"""
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass
class Examined:
    """``entry`` is how the file stood when it was read; ``sha256`` is of its bytes, or of a link's target."""

    entry: Entry
    sha256: bytes = NO_HASH
    instance: Instance | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)


def examine(folder: Path, entry: Entry, flag: StopFlag) -> Examined | None:
    """Read what ``entry`` names; None if it has gone. Raises StoppedError; OSError where disk or share fails."""
    found = Examined(entry)
    if not _is_utf8(entry.path):
        found.problems.append(("name_not_utf8", "has a name that is no UTF-8; tools may not find it"))
    path = os.path.join(os.fsencode(folder), entry.path)  # noqa: PTH118 (names that are no UTF-8 stay bytes)
    try:
        if entry.kind == LINK:
            _examine_link(found, folder, path)
        elif entry.kind == FILE:
            _examine_file(found, path, flag)
        else:
            _note_odd(found)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG}:
            raise
        _cannot_be_read(found, error.strerror or "")
    return found


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def _note_odd(found: Examined) -> None:
    if found.entry.kind == UNREADABLE:
        _cannot_be_read(found, "permission denied, or its name is too long")
    elif found.entry.kind == OTHER:
        found.problems.append(("special", "is a pipe, a socket or a device, which no tool reads"))


def _cannot_be_read(found: Examined, reason: str) -> None:
    found.sha256 = NO_HASH
    found.problems.append(("unreadable", f"cannot be read ({reason}); let the orchestrator's user read it"))


def _examine_link(found: Examined, folder: Path, path: bytes) -> None:
    found.sha256 = hashlib.sha256(os.readlink(path)).digest()  # noqa: PTH115
    target, root = os.path.realpath(path), os.fsencode(os.path.realpath(folder))
    if not target.startswith(root + b"/"):
        found.problems.append(("link_out", "is a link that leads out of the dataset; jobs cannot follow it"))
    elif not os.path.exists(target):  # noqa: PTH110
        found.problems.append(("link_broken", "is a link to what is not there"))


def _examine_file(found: Examined, path: bytes, flag: StopFlag) -> None:
    with os.fdopen(os.open(path, _OPEN), "rb") as content:
        before = entry_of(found.entry.path, os.fstat(content.fileno()))
        found.entry = before
        if before.kind != FILE:
            return _note_odd(found)
        found.sha256 = _hashed(content, flag)
        if before.size == 0:
            found.problems.append(("empty", "has no bytes"))
        else:
            parsed = read(content, before.size)
            found.instance = parsed.instance
            found.problems += parsed.problems
        after = entry_of(found.entry.path, os.fstat(content.fileno()))
    if after != before or abs(time.time() - after.mtime / 1e9) < _SETTLED_SECONDS:
        found.entry = after._replace(mtime=UNSETTLED)


def _hashed(content: BinaryIO, flag: StopFlag) -> bytes:
    digest = hashlib.sha256()
    while chunk := content.read(_CHUNK):
        flag.check()
        digest.update(chunk)
    return digest.digest()
