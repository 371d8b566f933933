"""What a job prints: its first bytes kept in a file, the rest counted, and never so that another job waits."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from pathlib import Path
from typing import BinaryIO

_PIPE = 1 << 20
_READ = 1 << 16


class Output:
    """One stream of a job. ``write_end`` is for the job and must be closed here once the job has it."""

    def __init__(self, path: Path, limit: int) -> None:
        self.dropped = 0
        """bytes that came after ``limit``, or that the disk did not take"""
        self._left = limit
        self._path = path
        self._file: BinaryIO | None = None
        self._sink = os.open("/dev/null", os.O_WRONLY)
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_end, False)
        with contextlib.suppress(PermissionError):  # beyond what a user may have in pipes: the smaller one will do
            fcntl.fcntl(self._read_end, fcntl.F_SETPIPE_SZ, _PIPE)
        asyncio.get_running_loop().add_reader(self._read_end, self._take)

    def end(self) -> None:
        """Take what is still in the pipe, and close. The job's processes are gone."""
        while self._take():
            pass
        self.close()

    def close(self) -> None:
        """Let go of it; what is in the pipe is lost."""
        asyncio.get_running_loop().remove_reader(self._read_end)
        for descriptor in (self._read_end, self._sink):
            os.close(descriptor)
        if self._file is not None:
            self._file.close()

    def _take(self) -> bool:
        """One piece from the pipe; False if there was none, or no more will come."""
        try:
            taken = self._keep() if self._left else self._drop()
        except BlockingIOError:
            return False
        if not taken:
            asyncio.get_running_loop().remove_reader(self._read_end)
        return taken > 0

    def _keep(self) -> int:
        data = os.read(self._read_end, min(_READ, self._left))
        kept = 0
        while kept < len(data):
            try:
                if self._file is None:  # made when it is needed: many a job prints nothing
                    self._file = self._path.open("wb", buffering=0)
                kept += self._file.write(data[kept:]) or 0
            except OSError:  # the disk is full; the job must not hang for it, so the rest is counted only
                self._left = 0
                self.dropped += len(data) - kept
                return len(data)
        self._left -= kept
        return len(data)

    def _drop(self) -> int:
        dropped = os.splice(self._read_end, self._sink, _PIPE)
        self.dropped += dropped
        return dropped
