"""The hashes of a log's tree in a file of their own. It can be made anew from the entries at any time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fedproc.common.tlog.folder import open_own
from fedproc.common.tlog.merkle import HASH_BYTES, stored_count


class HashFile:
    """Appended to without waiting for the disk: what is lost is hashed again."""

    def __init__(self, path: Path) -> None:
        self._descriptor = open_own(path)

    def __call__(self, position: int) -> bytes:
        """The hash at a position. Raises :class:`OSError` where there is none."""
        found = os.pread(self._descriptor, HASH_BYTES, position * HASH_BYTES)
        if len(found) != HASH_BYTES:
            raise OSError(f"the file of hashes ends before hash {position}")
        return found

    @property
    def size(self) -> int:
        """Of how many entries all hashes are here."""
        count = os.fstat(self._descriptor).st_size // HASH_BYTES
        size = count // 2
        while stored_count(size + 1) <= count:
            size += 1
        return size

    def write(self, size: int, hashes: Iterable[bytes]) -> None:
        """Put these after those of the first ``size`` entries, unless they stand there. Raises :class:`OSError`."""
        start, content = stored_count(size) * HASH_BYTES, b"".join(hashes)
        if os.pread(self._descriptor, len(content), start) == content:
            return
        if os.fstat(self._descriptor).st_size < start:
            raise OSError(f"the file of hashes ends before entry {size}; start the program again, which makes it anew")
        self.cut(size)
        while content:
            written = os.pwrite(self._descriptor, content, start)
            content, start = content[written:], start + written

    def cut(self, size: int) -> None:
        """Leave those of the first ``size`` entries alone."""
        os.ftruncate(self._descriptor, stored_count(size) * HASH_BYTES)

    def close(self) -> None:
        os.close(self._descriptor)
