"""The sha256 of files that come in several requests, kept from one request to the next.

Whoever has it need not read a file again when its last byte is there. It holds for this process alone, and only for a
file that nobody else has changed since: otherwise there is none, and the file is read.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol, Self

MOST = 1000


class Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...

    def copy(self) -> Self: ...


@dataclass(frozen=True)
class _Mark:
    """By which a file is known to be as it was left."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, descriptor: int) -> _Mark:
        found = os.fstat(descriptor)
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


class RunningHashes:
    """The latest ``most`` of them. Each call holds the writer's lock of its file."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: OrderedDict[Path, tuple[_Mark, Hash]] = OrderedDict()
        self._lock = Lock()

    def take(self, path: Path, descriptor: int) -> Hash | None:
        """That of all bytes of the open file; None if it is not known. It is kept no longer."""
        mark = _Mark.of(descriptor)
        with self._lock:
            known = self._kept.pop(path, None)
        if not mark.size:
            return hashlib.sha256()
        return known[1] if known is not None and known[0] == mark else None

    def keep(self, path: Path, descriptor: int, running: Hash, *, written: bool) -> None:
        """``running`` is that of all bytes of the open file, and ``written`` whether any were since it was taken.

        The time of a change is set to the nanosecond then: the one that the kernel notes stands still for milliseconds,
        in which somebody else might write.
        """
        if written:
            now = time.time_ns()
            os.utime(descriptor, ns=(now, now))
        mark = _Mark.of(descriptor)
        with self._lock:
            self._kept[path] = mark, running
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
