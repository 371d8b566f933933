"""What a container prints: its first bytes kept in a file, the rest counted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

_PIECE = 1 << 16


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


async def read_frames(reader: asyncio.StreamReader, files: Mapping[int, OutputFile]) -> None:
    """Docker's frames: a byte for the stream, three of nothing, four for the size, then the bytes; until they end."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readexactly(8)
            left = int.from_bytes(head[4:], "big")
            while left and (piece := await reader.read(min(left, _PIECE))):
                files[head[0]].write(piece)
                left -= len(piece)


def unchunked(source: asyncio.StreamReader) -> asyncio.StreamReader:
    """The body of an answer that comes in HTTP's chunks (RFC 9112, 7.1). It ends where ``source`` does, too."""
    body = asyncio.StreamReader()
    task = asyncio.create_task(_carry(source, body))
    _CARRYING.add(task)
    task.add_done_callback(_CARRYING.discard)
    return body


async def _carry(source: asyncio.StreamReader, body: asyncio.StreamReader) -> None:
    with contextlib.suppress(ValueError, ConnectionError, asyncio.IncompleteReadError):
        while size := int((await source.readline()).partition(b";")[0], 16):
            body.feed_data((await source.readexactly(size + 2))[:size])
    body.feed_eof()


_CARRYING: set[asyncio.Task[None]] = set()
