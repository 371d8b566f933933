"""The hashes of a log's tree in a file of their own. It can be made anew from the entries at any time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from fedproc.common.files import write_atomically
from fedproc.common.log import get_logger
from fedproc.common.tlog.folder import open_own
from fedproc.common.tlog.merkle import HASH_BYTES, stored_count

log = get_logger(__name__)

_BOOT = "hashes.boot"
_THIS_BOOT = Path("/proc/sys/kernel/random/boot_id")


class HashFile:
    """Appended to without waiting for the disk: what a power cut may have taken is hashed again after it."""

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
        there = os.pread(self._descriptor, len(content), start)
        if there == content:
            return
        if there and not content.startswith(there):
            log.warning("tlog.hashes_put_right", from_entry=size)
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


def are_of_this_boot(folder: Path) -> bool:
    """Whether the hashes were compared with the entries since the machine started: what it wrote since is not lost."""
    try:
        return (folder / _BOOT).read_bytes() == _THIS_BOOT.read_bytes()
    except OSError:
        return False


def note_boot(folder: Path) -> None:
    """The hashes have been compared. A machine without such an id compares them at each start."""
    with contextlib.suppress(FileNotFoundError):
        write_atomically(folder / _BOOT, _THIS_BOOT.read_bytes(), 0o600)
