"""The connection with an engine that is slow, as an ordinary user's Podman is after its start and on a busy machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fedproc.site.executors.base import ExecutorError
from fedproc.site.executors.docker.client import Engine

OWNER = 1234
ANSWERS: dict[str, Any] = {
    "/version": {"Version": "4.3.1", "ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}]},
    "/containers/create": {"Id": "1", "Warnings": []},
    "/libpod/info": {
        "host": {"security": {"rootless": True}, "idMappings": {"uidmap": [{"container_id": 0, "host_id": OWNER}]}}
    },
}
REFUSED = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 38\r\n\r\n" + b'{"message": "fuse: device not found"}\r\n'
)
END = {"Type": "container", "Action": "die", "Actor": {"ID": "1", "Attributes": {"name": "j-1"}}}


class SlowEngine:
    """Answers at a socket; what it is it says once ``says`` is set, and then that a container has ended.

    ``most`` is how many containers it was asked for at once.
    """

    def __init__(self) -> None:
        self.asked, self.says = asyncio.Event(), asyncio.Event()
        self._creating = self.most = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await self._head(reader):
            path = head.split()[1].decode().partition("?")[0]
            if path.endswith("/info"):
                self.asked.set()
                await self.says.wait()
            if path.endswith("/containers/create"):
                await self._create(reader, head)
            if path.endswith("/attach"):
                writer.write(REFUSED)
                return writer.close()
            known = next((answer for end, answer in ANSWERS.items() if path.endswith(end)), END)
            body = json.dumps(known).encode()
            form = (
                b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" if known is END else b"Content-Length: %d\r\n\r\n%s"
            )
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + form % (len(body), body))

    async def _create(self, reader: asyncio.StreamReader, head: bytes) -> None:
        length = next(line for line in head.splitlines() if line.startswith(b"Content-Length: ")).partition(b" ")[2]
        await reader.readexactly(int(length))
        self._creating += 1
        self.most = max(self.most, self._creating)
        await asyncio.sleep(0.05)  # in which another one may come
        self._creating -= 1

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""


@asynccontextmanager
async def engine(folder: Path, events: list[str]) -> AsyncIterator[tuple[Engine, SlowEngine]]:
    slow = SlowEngine()
    server = await asyncio.start_unix_server(slow.connected, str(folder / "engine.sock"))
    asked = Engine(f"unix://{folder}/engine.sock", "host=1", lambda event: events.append(event.name), lambda _: None)
    try:
        yield asked, slow
    finally:
        asked.close()
        server.close()


@pytest.mark.slow
async def test_who_gives_up_while_the_engine_is_slow_leaves_no_half_of_a_connection(
    tmp_path: Path,
) -> None:
    events: list[str] = []
    async with engine(tmp_path, events) as (asked, slow):
        first = asyncio.create_task(asked.nature())
        await slow.asked.wait()
        first.cancel()
        await asyncio.wait({first})
        slow.says.set()
        nature = await asked.nature()
        assert (nature.podman, nature.owner) == (True, OWNER)
        async with asyncio.timeout(30):
            while not events:
                await asyncio.sleep(0.01)
        assert events == ["j-1"]


@pytest.mark.slow
async def test_podman_is_asked_for_one_container_after_another(tmp_path: Path) -> None:
    """Asked for several at once, Podman 4.3 now and then finds no subordinate ids for one of them, or crashes."""
    async with engine(tmp_path, []) as (asked, slow):
        slow.says.set()
        await asyncio.gather(*(asked.create({"Image": "any"}, f"j-{n}") for n in range(6)))
        assert slow.most == 1


@pytest.mark.slow
async def test_why_an_engine_gives_no_output_is_told_in_its_words(tmp_path: Path) -> None:
    async with engine(tmp_path, []) as (asked, slow):
        slow.says.set()
        await asked.nature()
        with pytest.raises(
            ExecutorError, match=r"no output of c1: .* 500 Internal Server Error .*fuse: device not found"
        ):
            await asked.attach("c1", begun=False, running=True)
