"""A disk that takes nothing while a test says so."""

from __future__ import annotations

import errno
import os

import pytest


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
