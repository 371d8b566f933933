"""Who may be at the other end of a connection between tasks, and how much goes over it: real TLS, real sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedproc.demo.polling import free_ports
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.connections.hub import Connections, Meter, Route
from fedproc.site.settings import ConnectionSettings

pytestmark = pytest.mark.slow


JOB = "j-" + "0" * 26
NAME = f"7000-{JOB}.eucaim.jobs.fedproc.internal"


def connections(keys: Any, pair: Any, port: int | None = None) -> Connections:
    settings = ConnectionSettings(certificate=pair.certificate, ca_file=keys.ca_file, listen_port=port)
    return Connections(settings, pair.private, ProxyConnector())


async def dialled(client: Connections, port: int, folder: Path) -> bytes:
    """What comes back on a client task's socket to its server task, after it sent a secret."""
    at = folder / "out"
    route = Route("EUCAIM", f"127.0.0.1:{port}", NAME)
    await client.forward("j-" + "1" * 26, at, route, Meter("server", "EUCAIM", 1000), lambda: None)
    reader, writer = await asyncio.open_unix_connection(at)
    try:
        writer.write(b"secret")
        return await asyncio.wait_for(reader.read(100), 60)
    except ConnectionError:
        return b""
    finally:
        writer.close()
        await client.close()


@pytest.mark.parametrize("own", ["the gateway's", "another host's"])
async def test_nobody_passes_for_the_aggregator(keys: Any, tmp_path: Path, own: str) -> None:
    """With any certificate of the federation's authority but the aggregator's own."""
    pair = keys.server("gateway") if own == "the gateway's" else keys.host("BSC")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.private)
    overheard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        overheard.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await dialled(connections(keys, keys.host("UB")), port, tmp_path) == b""
    assert b"".join(overheard) == b""


@pytest.mark.parametrize("who", ["UB", "gateway", "BSC"])
async def test_only_a_peer_of_the_running_job_comes_in(keys: Any, tmp_path: Path, who: str) -> None:
    reached: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(await reader.read(100))
        writer.write(b"welcome")
        await writer.drain()
        writer.close()

    (port,) = free_ports(1)
    aggregator = connections(keys, keys.host("EUCAIM"), port)
    server = await asyncio.start_unix_server(serve, tmp_path / "served")
    await aggregator.listen()
    aggregator.admit(JOB, {7000: tmp_path / "served"}, [Meter("client", "UB", 1000)], lambda: None)
    pair = keys.server("gateway") if who == "gateway" else keys.host(who)
    answer = await dialled(connections(keys, pair), port, tmp_path)
    await aggregator.close()
    server.close()
    assert (answer, reached) == ((b"welcome", [b"secret"]) if who == "UB" else (b"", []))


@pytest.mark.parametrize(("server_budget", "client_budget"), [(100, 10_000), (10_000, 100)])
async def test_at_the_budget_both_ends_are_cut(
    keys: Any, tmp_path: Path, server_budget: int, client_budget: int
) -> None:
    came = 0
    told: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        while chunk := await reader.read(100):
            came += len(chunk)
        writer.close()

    (port,) = free_ports(1)
    aggregator, client = connections(keys, keys.host("EUCAIM"), port), connections(keys, keys.host("UB"))
    server = await asyncio.start_unix_server(serve, tmp_path / "served")

    def noting(end: str, meter: Meter) -> Callable[[], None]:
        return lambda: told.append(f"{end} {meter.cut is not None}")

    inside, outside = Meter("client", "UB", server_budget), Meter("server", "EUCAIM", client_budget)
    await aggregator.listen()
    aggregator.admit(JOB, {7000: tmp_path / "served"}, [inside], noting("server", inside))
    route = Route("EUCAIM", f"127.0.0.1:{port}", NAME)
    await client.forward("j-" + "1" * 26, tmp_path / "out", route, outside, noting("client", outside))
    for _ in range(2):  # a new connection has what is left of the budget, which is nothing
        reader, writer = await asyncio.open_unix_connection(tmp_path / "out")
        writer.write(b"x" * 500)
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
    await client.close()
    await aggregator.close()
    server.close()
    assert came <= 100
    cut = {one for one in told if one.endswith("True")}
    assert cut == {"server True" if server_budget == 100 else "client True"}
    assert "bytes that the site's policy allows" in str((inside if server_budget == 100 else outside).cut)
