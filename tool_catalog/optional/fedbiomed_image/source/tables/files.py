"""Files of a dataset: regular ones of a size that a machine can hold."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .problems import one


def read_bytes(path: Path, most: int) -> bytes:
    """The bytes of a regular file, of which there are at most ``most``.

    Raises :class:`TableError` for another file, a pipe or a device too, which is not waited for; FileNotFoundError
    where there is none.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise one(path.name, f"a file that can be read ({error.strerror})") from error
    try:
        return _content(descriptor, path.name, most)
    except OSError as error:
        raise one(path.name, f"a file that can be read ({error.strerror})") from error
    finally:
        os.close(descriptor)


def _content(descriptor: int, name: str, most: int) -> bytes:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise one(name, "a file that can be read (it is a folder, a pipe or a device)")
    if found.st_size > most:
        raise one(name, f"at most {most} bytes", found=f"{found.st_size} bytes")
    with open(descriptor, "rb", closefd=False) as content:
        return content.read(most)
