"""Answers of several parts (multipart/related; RFC 2046, 5.1), read while they come: memory is bounded.

Whoever sends them is not trusted: no length that a part states is believed, and its name is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message

from fedproc.site.data.remote.errors import RemoteError, RemotePassingError

_LONGEST_HEAD = 16 << 10
_LONGEST_PREAMBLE = 64 << 10
_PADDING = b" \t"


def boundary_of(content_type: str, wanted: str) -> bytes:
    """What stands between the parts, which must be of type ``wanted``. Raises :class:`RemoteError`."""
    header = Message()
    header["Content-Type"] = content_type.encode("ascii", "replace").decode()
    if header.get_content_type() != "multipart/related":
        raise RemoteError(f"it answers with {header.get_content_type()!r}, not multipart/related")
    kind = str(header.get_param("type") or wanted).lower()
    if kind != wanted:
        raise RemoteError(f"it answers with parts of type {kind[:80]!r}, not {wanted}")
    boundary = str(header.get_param("boundary") or "")
    if not 0 < len(boundary) <= 200 or not boundary.isascii():
        raise RemoteError("its answer does not say what stands between its parts (boundary)")
    return boundary.encode()


class Parts:
    """The parts in ``chunks``. Iterate over it, and over each part's :meth:`body` before the next part.

    Both raise :class:`RemoteError` for what is no such answer, and RemotePassingError where it ends too early.
    """

    def __init__(self, chunks: Iterator[bytes], boundary: bytes) -> None:
        self._chunks = chunks
        self._mark = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")  # the first mark may stand at the very beginning
        self._in_body = False

    def __iter__(self) -> Iterator[None]:
        self._skip_preamble()
        while not self._is_last():
            self._skip_head()
            self._in_body = True
            yield
            for _ in self.body():
                """What the caller did not read of it."""

    def body(self) -> Iterator[bytes]:
        """The bytes of the part that has begun, in pieces as they come."""
        while self._in_body:
            at = self._buffer.find(self._mark)
            if at < 0:
                whole = len(self._buffer) - len(self._mark) + 1
                if whole > 0:
                    yield self._taken(whole)
                self._more()
                continue
            self._in_body = False
            piece = self._taken(at)
            del self._buffer[: len(self._mark)]
            if piece:
                yield piece

    def _skip_preamble(self) -> None:
        skipped = 0
        while (at := self._buffer.find(self._mark)) < 0:
            whole = max(0, len(self._buffer) - len(self._mark) + 1)
            skipped += whole
            del self._buffer[:whole]
            if skipped > _LONGEST_PREAMBLE:
                raise RemoteError("its answer has none of the parts that it says it has")
            self._more()
        del self._buffer[: at + len(self._mark)]

    def _is_last(self) -> bool:
        """Reads the end of the line on which a mark stands."""
        while len(self._buffer) < 2:
            self._more()
        if self._buffer[:2] == b"--":
            return True
        line = self._line()
        if line.strip(_PADDING):
            raise RemoteError("in its answer there is something behind the mark between two parts")
        return False

    def _skip_head(self) -> None:
        size = 0
        while line := self._line():
            size += len(line)
            if size > _LONGEST_HEAD:
                raise RemoteError("a part of its answer has a head without end")

    def _line(self) -> bytes:
        while (at := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                raise RemoteError("a part of its answer has a line without end")
            self._more()
        line = self._taken(at)
        del self._buffer[:2]
        return line

    def _taken(self, size: int) -> bytes:
        piece = bytes(self._buffer[:size])
        del self._buffer[:size]
        return piece

    def _more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise RemotePassingError("its answer ends in the middle")
        self._buffer += chunk
