"""The declared connections of a job, which are its only network."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.executors import Harness

from fedproc.site.executors.base import Forward, Phase, Port, Stop

pytestmark = pytest.mark.needs_root

ASK = """
import hashlib, socket, sys
for host, port in zip(sys.argv[1::2], sys.argv[2::2]):
    with socket.create_connection((host, int(port)), 20) as peer:
        peer.sendall(bytes(range(256)) * 20_000)
        peer.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: peer.recv(65536), b""))
    print(answer.decode(), flush=True)
"""
SERVE = """
import pathlib, socket, sys, time
while not pathlib.Path("listen").exists():
    time.sleep(0.02)
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], 7000), family=family) as server:
    while True:
        peer, _ = server.accept()
        with peer:
            text = b"".join(iter(lambda: peer.recv(65536), b""))
            peer.sendall(text[::-1])
"""
TRY = """
import socket, sys
def ask(peer):
    peer.settimeout(20)
    peer.sendall(b"x")
    return peer.recv(1)
for host, port in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        with socket.create_connection((host, int(port)), 20) as peer:
            print("answer", ask(peer))
    except OSError as fault:
        print("closed")
"""


def _ways(harness: Harness, job: str) -> tuple[Path, Path]:
    folder = harness.folder / job / "connections"
    for name in ("out", "in"):
        (folder / name).mkdir(parents=True)
    return folder / "out", folder / "in"


@asynccontextmanager
async def _peer(at: Path, name: str) -> AsyncIterator[None]:
    """As the orchestrator's end: says its name and how much it was sent."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            received = await reader.read()
            writer.write(f"{name} got {len(received)}".encode())
            writer.write_eof()
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(connected, str(at))
    await asyncio.to_thread(at.chmod, 0o777)
    async with server:
        yield


async def _appears(path: Path) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(path.exists):
            await asyncio.sleep(0.02)


async def test_a_job_reaches_its_declared_peers(harness: Harness) -> None:
    out, _ = _ways(harness, "client")
    names = ("first", "second")
    forwards = tuple(Forward(f"{name}.fedproc.internal", 9092, out / name) for name in names)
    async with _peer(out / "first", "first"), _peer(out / "second", "second"):
        arguments = [text for name in names for text in (f"{name}.fedproc.internal", "9092")]
        ended = await harness.run(harness.program("client", ASK, *arguments, forwards=forwards))
    assert ended.out.decode() == "first got 5120000\nsecond got 5120000\n", ended


async def test_and_nothing_beside_them(harness: Harness) -> None:
    out, _ = _ways(harness, "client")
    forwards = (Forward("first.fedproc.internal", 9092, out / "first"),)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        targets = ["first.fedproc.internal", "9093", "second.fedproc.internal", "9092", "127.0.0.1", "9092"]
        targets += ["127.0.0.1", str(listener.getsockname()[1]), "192.0.2.1", "9092"]
        async with _peer(out / "first", "first"):
            ended = await harness.run(harness.program("client", TRY, *targets, forwards=forwards))
    assert ended.out == b"closed\n" * 5, ended


async def test_a_peer_that_is_not_there_is_a_closed_connection(harness: Harness) -> None:
    out, _ = _ways(harness, "client")
    forwards = (Forward("first.fedproc.internal", 9092, out / "first"),)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(out / "first"))
    ended = await harness.run(harness.program("client", TRY, "first.fedproc.internal", "9092", forwards=forwards))
    assert ended.seen.exit_code == 0
    assert ended.out in (b"closed\n", b"answer b''\n")


async def _reversed(at: Path, text: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(at))
    writer.write(text)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def _serves(harness: Harness, address: str) -> None:
    _, incoming = _ways(harness, "server")
    spec: dict[str, Any] = {"ports": (Port("api", 7000, incoming / "api"),), "stop": Stop("SIGTERM", 20)}
    handle = await harness.submit(harness.program("server", SERVE, address, **spec))
    await asyncio.sleep(0.3)
    assert not (incoming / "api").exists(), "the socket is there before the tool listens"
    (harness.folder / "server" / "work" / "listen").touch()
    await _appears(incoming / "api")
    text = bytes(range(256)) * 4000
    answers = await asyncio.gather(*(_reversed(incoming / "api", text + bytes([n])) for n in range(5)))
    assert answers == [bytes([n]) + text[::-1] for n in range(5)]
    await harness.executor.cancel(handle)
    ended = await harness.end(handle)
    assert (ended.seen.exit_code, ended.seen.cancelled) == (143, True)


async def test_a_job_is_reached_at_its_declared_port(harness: Harness) -> None:
    await _serves(harness, "127.0.0.1")


async def test_a_job_is_reached_at_its_declared_port_on_version_6(harness: Harness) -> None:
    await _serves(harness, "::1")


async def test_connections_outlive_a_restart_of_the_daemon(harness: Harness) -> None:
    """The job goes on; the orchestrator listens again at the same place."""
    out, _ = _ways(harness, "client")
    program = "import pathlib, time\nprint('waiting', flush=True)\n"
    program += "while not pathlib.Path('go').exists():\n    time.sleep(0.02)\n" + ASK
    forwards = (Forward("first.fedproc.internal", 9092, out / "first"),)
    async with _peer(out / "first", "first"):
        handle = await harness.submit(
            harness.program("client", program, "first.fedproc.internal", "9092", forwards=forwards)
        )
        await harness.said(handle, b"waiting\n")
    harness.restart()
    (out / "first").unlink(missing_ok=True)
    async with _peer(out / "first", "restarted"):
        assert (await harness.executor.poll(handle)).phase is Phase.running
        (harness.folder / "client" / "work" / "go").touch()
        ended = await harness.end(handle)
    assert ended.out == b"waiting\nrestarted got 5120000\n", ended


async def test_limits_hold_with_connections_too(harness: Harness) -> None:
    """Also what a job writes into the folder of its ports counts."""
    _, incoming = _ways(harness, "server")
    program = (
        "block = bytes(1_000_000)\nfor n in range(1000):\n    open(f'/fedproc/connections/in/{n}', 'wb').write(block)"
    )
    ended = await harness.run(harness.program("server", program, ports=(Port("api", 7000, incoming / "api"),)))
    assert ended.seen.limit == "disk", ended
