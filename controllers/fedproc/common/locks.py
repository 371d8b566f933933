"""Locks between processes: whoever holds the lock of a file has alone what lies beside it."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

_PAUSE = 0.1
"""seconds between two attempts to get a lock that another process holds"""


@contextmanager
def file_locked(path: Path) -> Iterator[None]:
    """Hold the lock of ``path``; the wait for it blocks its thread, which must be no thread of the common pool."""
    while True:
        with _opened(path) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_at(path, lock):
                yield
                return


@asynccontextmanager
async def async_file_locked(path: Path) -> AsyncIterator[None]:
    """Hold the lock of ``path``; the wait for it blocks no thread, and may be cancelled."""
    while True:
        with _opened(path) as lock:
            while not _taken(lock):
                await asyncio.sleep(_PAUSE)
            if _is_at(path, lock):
                yield
                return


def _opened(path: Path) -> IO[bytes]:
    """Another user's, which may be read alone, can be locked, too; over NFS it cannot, and flock says so."""
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "rb")
    except PermissionError:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb")


def _taken(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, lock: IO[bytes]) -> bool:
    """Whether others find this lock, too: whoever held it before may have removed its file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(lock.fileno()))
    except FileNotFoundError:
        return False
