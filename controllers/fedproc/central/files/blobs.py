"""The bytes of files, in a folder: one file per id, appended to while it is pending, read only afterwards.

What state a file is in stands in the database alone; here there are only bytes. One writer at a time holds
the lock of a file, across all processes that share the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedproc.central.files.running_hashes import RunningHashes
from fedproc.common.errors import LockedError, NotFoundError, StorageFullError
from fedproc.common.files import sha256_of

_RESERVE = 64 << 20
"""Bytes of the disk that are left free, so that the database beside it can still write."""

_OWN_NAME = "f-[0-9a-v]{26}|[0-9a-f]{64}"
_OWN = re.compile(_OWN_NAME)
_OWN_PARTIAL = re.compile(rf"\.(?:{_OWN_NAME})\.[0-9]+")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Incoming:
    """One file under its writer's lock. ``hashes`` may know the hash of what is there."""

    def __init__(self, descriptor: int, path: Path, hashes: RunningHashes) -> None:
        self._descriptor = descriptor
        self._path = path
        self._hashes = hashes
        self.size = os.fstat(descriptor).st_size
        self._running = hashes.take(path, descriptor)
        self._found = self.size, self._running.copy() if self._running else None
        self._written = False

    def append(self, data: bytes) -> None:
        """Add at the end. Raises :class:`StorageFullError` where the disk is full."""
        running, self._running, self._written = self._running, None, True
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(self._descriptor, rest, self.size)
                self.size += written
                rest = rest[written:]
        except OSError as error:
            if error.errno in _FULL:
                raise _storage_full() from error
            raise
        if running is not None:
            running.update(data)
        self._running = running

    def cut(self, size: int) -> None:
        """Drop everything from ``size`` on."""
        self._running, self._written = None, True
        os.ftruncate(self._descriptor, size)
        self.size = size
        found, running = self._found
        if not size:
            self._running = hashlib.sha256()
        elif size == found and running is not None:
            self._running = running.copy()

    def sha256(self) -> str:
        """The hash of all bytes; they are read if it is not known."""
        return sha256_of(self._path) if self._running is None else self._running.hexdigest()

    def leave(self) -> None:
        """Keep what the next one can go on from."""
        if self._running is not None and self.size:
            self._hashes.keep(self._path, self._descriptor, self._running, written=self._written)

    def sync(self) -> None:
        """Returns once the bytes are on the disk."""
        os.fsync(self._descriptor)


class Blobs:
    """The folder; ``name`` is an id or a sha256, never anything that came from outside unchecked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hashes = RunningHashes()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, name: str) -> Path:
        """Where the bytes are; shared out by the end of the name, because ids begin with the time."""
        return self.folder / name[-2:] / name

    def create(self, name: str, size: int) -> None:
        """Begin an empty file that ``size`` bytes will come for.

        Raises :class:`StorageFullError` if they do not fit.
        """
        if shutil.disk_usage(self.folder).free < size + _RESERVE:
            raise _storage_full()
        path = self.path(name)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))

    @contextmanager
    def locked(self, name: str) -> Iterator[Incoming]:
        """Hold the writer's lock. Raises :class:`LockedError` while another holds it."""
        try:
            descriptor = os.open(self.path(name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFoundError(f"there are no bytes of {name}: create the entry again") from error
        try:
            _lock(descriptor)
            incoming = Incoming(descriptor, self.path(name), self._hashes)
            try:
                yield incoming
            finally:
                incoming.leave()
        finally:
            os.close(descriptor)

    def put(self, name: str, data: bytes) -> None:
        """Store a whole small file durably; one that is there already stays as it is, and counts as new."""
        path = self.path(name)
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
            return
        path.parent.mkdir(exist_ok=True, mode=0o700)
        partial = path.with_name(f".{name}.{os.getpid()}")
        try:
            with partial.open("wb") as target:
                target.write(data)
                target.flush()
                os.fsync(target.fileno())
            partial.rename(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            if error.errno in _FULL:
                raise _storage_full() from error
            raise

    def changed(self, name: str) -> float | None:
        """When bytes were last added, in seconds since 1970; None if there are none."""
        try:
            return self.path(name).stat().st_mtime
        except FileNotFoundError:
            return None

    def folders(self) -> list[Path]:
        """The folders that names are shared out to."""
        return sorted(path for path in self.folder.iterdir() if len(path.name) == 2 and path.is_dir())

    def is_own(self, path: Path) -> bool:
        """Whether the store itself makes files of this name at this place."""
        return _OWN.fullmatch(path.name) is not None and self.path(path.name) == path

    def is_partial(self, path: Path) -> bool:
        """Whether the store writes under this name until the bytes are whole."""
        return _OWN_PARTIAL.fullmatch(path.name) is not None

    def delete(self, name: str) -> None:
        """Forget the bytes; no error if there are none."""
        self.path(name).unlink(missing_ok=True)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LockedError("another request is sending this file just now; ask again when it has ended") from error


def _storage_full() -> StorageFullError:
    return StorageFullError(
        "the centre's file store is full; nothing of this request was kept: ask its operator for room, then send again",
    )
