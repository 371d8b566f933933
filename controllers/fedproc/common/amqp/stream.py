"""pika's protocol over a stream of asyncio that is open already, whatever way it took (a proxy, TLS)."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from pika import BasicProperties, exceptions, frame, spec
from pika.connection import Connection, Parameters

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Opener = Callable[[str, int, ssl.SSLContext | None], Awaitable[Stream]]

_READ_BYTES = 16 << 10
"""what is decoded at a time: pika copies what is left after each frame, so that more would cost more"""
_WRITE_BYTES = 64 << 10
_HEADER = struct.Struct(">BHL4xQ")
"""of a message: type, channel and size of the frame, class and weight, size of the body"""


async def open_stream(host: str, port: int, context: ssl.SSLContext | None) -> Stream:
    """Dial directly. Raises OSError."""
    return await asyncio.open_connection(host, port, ssl=context)


class StreamConnection(Connection):  # type: ignore[misc]
    """An adapter of pika. What is sent within one turn of the loop goes out together, as one write.

    ``opened`` is called once with None, or with what kept the connection from opening; ``closed`` once with the
    reason, if it was open.
    """

    def __init__(
        self,
        stream: Stream,
        parameters: Parameters,
        opened: Callable[[Exception | None], None],
        closed: Callable[[Exception], None],
    ) -> None:
        self._reader, self._writer = stream
        self._loop = asyncio.get_running_loop()
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._reason: Exception | None = None
        self._ended = False
        super().__init__(
            parameters,
            lambda _: opened(None),
            lambda _, error: opened(self._reason or error),  # pika's own guess has less to say than the reason
            lambda _, error: closed(self._reason or error),
            internal_connection_workflow=False,
        )
        self._on_stream_connected()
        self._reading = asyncio.create_task(self._read())

    def abort(self, reason: Exception) -> None:
        """Let the stream go at once, with nothing more said to the broker."""
        self._end(self._reason or reason)

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(_READ_BYTES):
                self._on_data_available(data)
            error: Exception = exceptions.StreamLostError("it was cut")
        except Exception as broken:  # noqa: BLE001  (of the stream, or of what the broker sent: either ends it)
            error = broken
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        if self._ended:
            return
        self._ended = True
        self._reason = self._reason or error
        self._reading.cancel()
        self._writer.transport.abort()
        self._on_stream_terminated(None if self._error else error)

    # -- what pika reads

    def _read_frame(self) -> Any:
        """A message whose properties cannot be decoded loses them: nothing that a peer sends ends the connection."""
        try:
            return super()._read_frame()
        except Exception:
            kind, channel, size, body_size = _HEADER.unpack_from(self._frame_buffer)
            consumed = spec.FRAME_HEADER_SIZE + size + spec.FRAME_END_SIZE
            if kind != spec.FRAME_HEADER or self._frame_buffer[consumed - 1] != spec.FRAME_END:
                raise
            return consumed, frame.Header(channel, body_size, BasicProperties())

    # -- what pika asks of an adapter

    def _adapter_emit_data(self, data: bytes) -> None:
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(data)
        self._outgoing_bytes += len(data)
        if self._outgoing_bytes >= _WRITE_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._outgoing and not self._ended:
            self._writer.write(b"".join(self._outgoing))
        self._outgoing.clear()
        self._outgoing_bytes = 0

    def _adapter_disconnect_stream(self) -> None:
        self._reason = self._error
        self._loop.call_soon(self._end, None)

    def _adapter_connect_stream(self) -> None:
        raise NotImplementedError("the stream is open before the connection is made")

    def _adapter_call_later(self, delay: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        return self._loop.call_later(delay, callback)

    def _adapter_remove_timeout(self, timeout_id: asyncio.TimerHandle) -> None:
        timeout_id.cancel()

    def _adapter_add_callback_threadsafe(self, callback: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(callback)
