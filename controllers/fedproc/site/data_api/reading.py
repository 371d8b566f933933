"""One file of a cohort, opened so that no link and no name leads out of its dataset's folder."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from fedproc.common.errors import ConflictError, RangeError
from fedproc.site.data.cohort import CohortFile

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def opened(root: Path, file: CohortFile) -> BinaryIO:
    """The file as it was frozen. Raises :class:`ConflictError` (``data.changed``) if it is another one; OSError."""
    *folders, name = file.path.split(b"/")
    if any(part in {b"", b".", b".."} for part in (*folders, name)):
        raise ConflictError("the file has a name that leads elsewhere", code="data.changed")
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            inner = os.open(folder, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        content = os.fdopen(os.open(name, _FILE, dir_fd=descriptor), "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _changed() from error
    finally:
        os.close(descriptor)
    found = os.fstat(content.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_size != file.size:
        content.close()
        raise _changed()
    return content


def _changed() -> ConflictError:
    return ConflictError("the file is not what it was when the cohort was frozen; freeze it anew", code="data.changed")


def span(asked: str | None, size: int) -> tuple[int, int]:
    """From where to where (RFC 9110, 14); what is not understood is not asked. Raises :class:`RangeError`."""
    match = _RANGE.fullmatch(asked or "")
    if match is None or not (match[1] or match[2]):
        return 0, size
    first = int(match[1]) if match[1] else max(0, size - int(match[2]))
    last = min(size, int(match[2]) + 1) if match[1] and match[2] else size
    if first >= size or last <= first:
        raise RangeError(f"the file has {size} bytes")
    return first, last
