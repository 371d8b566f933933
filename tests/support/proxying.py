"""A small HTTP proxy (CONNECT only) that keeps what it was asked for, and a place that only it can reach.

What a test gives as ``leads`` maps a target to the port that is meant. Nothing listens at the target itself, so a
program that goes round the proxy reaches nobody.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class ConnectProxy:
    """``asked``: every target, in order. ``user``: USER:PASSWORD that it wants. ``forbids``: answer 403 to all."""

    leads: dict[str, int] = field(default_factory=dict)
    user: str | None = None
    forbids: bool = False
    asked: list[str] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url_of(self, user: str) -> str:
        return f"http://{user}@127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            verb, target, _ = head[0].split(" ")
            self.asked.append(target)
            if (refusal := self._refusal(verb, head)) is not None:
                writer.write(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n".encode())
            else:
                await self._tunnel(target, reader, writer)
        writer.close()

    def _refusal(self, verb: str, head: list[str]) -> str | None:
        if verb != "CONNECT":
            return "405 Method Not Allowed"
        given = next((line.split()[-1] for line in head if line.lower().startswith("proxy-authorization:")), "")
        if self.user is not None and given != base64.b64encode(self.user.encode()).decode():
            return '407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="proxy"'
        return "403 Forbidden by policy" if self.forbids else None

    async def _tunnel(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = target.rpartition(":")[2]
        out_reader, out_writer = await asyncio.open_connection("127.0.0.1", self.leads.get(target) or int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        hello = await reader.read(65536)
        self.names.append(hello)
        out_writer.write(hello)
        ways = [asyncio.create_task(_copy(reader, out_writer)), asyncio.create_task(_copy(out_reader, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        out_writer.close()

    @contextmanager
    def running(self) -> Iterator[ConnectProxy]:
        """In a thread of its own."""
        loop, ready = asyncio.new_event_loop(), threading.Event()

        async def begin() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()

        def run() -> None:
            asyncio.set_event_loop(loop)
            loop.create_task(begin())
            loop.run_forever()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert ready.wait(60)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
