"""Disks that take nothing while a test says so."""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

_PAGE = 4096


class Disk:
    """Of transparency logs alone: full while ``full`` is set; ``flushes`` counts what it has taken."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.flushes = 0
        self._really = os.fdatasync
        patch.setattr(os, "fdatasync", self._flush)

    def _flush(self, descriptor: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.flushes += 1
        self._really(descriptor)


class SmallDisk:
    """A file system of its own at ``folder``, which a test fills and empties. Root alone may make one."""

    def __init__(self, folder: Path, size: str = "2m") -> None:
        self.folder = folder
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)

    def fill(self, file: Path | None = None, *, but: int = 0) -> None:
        """Take all of its room, and of the last page of ``file`` all ``but`` some bytes, with empty lines."""
        with suppress(OSError), (self.folder / "fill").open("ab", buffering=0) as fill:
            while True:
                fill.write(bytes(_PAGE))
        if file is not None:
            with file.open("ab") as target:
                target.write(b"\n" * (-(target.tell() + but) % _PAGE))

    def empty(self) -> None:
        """Give its room back."""
        (self.folder / "fill").unlink()

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)
