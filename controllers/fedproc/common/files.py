"""Files: their hash, and writing that is whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STANDARD_INPUT = Path("/dev/stdin")


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, as hex; memory stays flat however large it is. Raises :class:`OSError`."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def files_below(folder: Path) -> list[Path]:
    """All below a folder that is no folder, in order; no link is followed, and nothing is left out.

    Raises :class:`OSError` for what cannot be looked into, where :meth:`Path.rglob` passes over it.
    """

    def refuse(error: OSError) -> None:
        raise error

    return sorted(Path(root) / name for root, _, names in os.walk(folder, onerror=refuse) for name in names)


def mark_used(path: Path) -> None:
    """Note by its time of change that a file is used now. Who may not, or finds none, does nothing."""
    now = time.time()
    with suppress(OSError):
        os.utime(path, (now, now))


def read_regular(path: Path) -> bytes:
    """A file's bytes, or what is piped in where it is ``/dev/stdin``. Raises :class:`OSError`.

    What else is no regular file is not waited for, as a pipe would have it.
    """
    if path == _STANDARD_INPUT:
        return sys.stdin.buffer.read()
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as content:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return content.read()


def partial_of(path: Path) -> Path:
    """The name under which ``path`` is written until it is whole: beside it, so that a rename is one step."""
    return path.with_name(path.name + ".part")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` in one step when the block ends well, and goes away else."""
    partial = partial_of(path)
    try:
        yield partial
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Have ``path`` hold ``content`` with these permissions, on the disk, in one step. Raises :class:`OSError`.

    Whoever reads meanwhile sees the content before or the new one. The permissions are there from the first byte on.
    """
    partial = partial_of(path)
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with replacing(path), os.fdopen(descriptor, "wb") as target:
        os.fchmod(descriptor, mode)
        target.write(content)
        target.flush()
        os.fsync(descriptor)
