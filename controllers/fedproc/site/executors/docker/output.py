"""What a container prints: its first bytes kept in a file, the rest counted."""

from __future__ import annotations

from pathlib import Path


class OutputFile:
    """The first bytes of a stream in a file, the rest counted. The stream may come again from its beginning."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._have = path.stat().st_size if path.exists() else 0
        self._at = 0

    @property
    def dropped(self) -> int:
        """Bytes that came after the limit, or that the disk did not take."""
        return max(0, self._at - self._limit)

    def begin(self) -> None:
        """The stream comes from its beginning."""
        self._at = 0

    def write(self, data: bytes) -> None:
        """Keep what is new of the next piece of the stream."""
        new = data[max(0, self._have - self._at) : max(0, self._limit - self._at)]
        self._at += len(data)
        if new:
            try:
                with self._path.open("ab") as target:
                    target.write(new)
            except OSError:  # the disk is full; the job must not hang for it, so the rest is counted only
                self._limit = self._have
            else:
                self._have += len(new)
