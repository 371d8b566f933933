"""Messages of a job to its peer, each the body of an HTTP/1.1 POST: read whole, looked into, and written anew.

Of what the job wrote around its document nothing goes on: the request line and the headers are this host's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fedproc.common.log import get_logger

log = get_logger(__name__)

REFUSED = "a message that is otherwise than the tool declares"
"""what the centre is told: what was in it stands in this host's log, as far as the site may read it"""
_END = b"\r\n\r\n"


class MessageError(Exception):
    """It may not go; the text is for the site's log."""


Check = Callable[[bytes], Awaitable[bytes]]
"""The body as it may go. Raises :class:`MessageError`."""


@dataclass(frozen=True)
class Messages:
    """What a job may send over one connection; ``most`` is in bytes of one body."""

    path: str
    most: int
    check: Check
    job: str
    peer: str

    async def pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: Callable[[int], bool]
    ) -> bool:
        """Carry messages until the job ends its side; False if one is refused, or the count forbade to go on."""
        try:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while (body := await self._next(reader)) is not None:
                    message = self._written(await self.check(body))
                    if not counted(len(message)):
                        return False
                    writer.write(message)
                    await writer.drain()
        except MessageError as error:
            log.warning("connection.refused", job=self.job, peer=self.peer, reason=str(error))
            raise
        return True

    async def _next(self, reader: asyncio.StreamReader) -> bytes | None:
        """The body of the next request; None at the end. Raises :class:`MessageError` for what is none."""
        try:
            head = await reader.readuntil(_END)
            return await reader.readexactly(self._size(head))
        except asyncio.LimitOverrunError as error:
            raise MessageError("its headers are longer than 64 KiB, or it is no HTTP") from error
        except asyncio.IncompleteReadError as error:
            if not error.partial.strip():
                return None
            raise MessageError("it ends before its headers say so, or it is no HTTP") from error

    def _size(self, head: bytes) -> int:
        """Of the body, by the one header that is looked at."""
        first, *lines = head.removesuffix(_END).split(b"\r\n")
        if first != b"POST " + self.path.encode() + b" HTTP/1.1":
            raise MessageError(f"its first line is not that of a POST to {self.path} by HTTP/1.1")
        headers = [line.partition(b":") for line in lines]
        lengths = [value.strip() for name, _, value in headers if name.lower() == b"content-length"]
        if len(lengths) != 1 or not lengths[0].isdigit() or any(h[0].lower() == b"transfer-encoding" for h in headers):
            raise MessageError("its headers do not say one Content-Length")
        if len(lengths[0]) > 10 or (size := int(lengths[0])) > self.most:
            raise MessageError(f"it has more than the {self.most} bytes that the tool declares of one")
        return size

    def _written(self, body: bytes) -> bytes:
        head = f"POST {self.path} HTTP/1.1\r\nHost: peer\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body
