"""What a tool declares of its connections, a host holds it to: bytes out, bytes in, and how often it may send anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fedproc.site.connections.carrying import Limits, Meter, carry

Program = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
SECONDS = 10


async def _linked(folder: Any, name: str) -> tuple[Any, Any]:
    """The two ends of a unix socket."""
    there: asyncio.Queue[Any] = asyncio.Queue()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await there.put((reader, writer))
        await writer.wait_closed()

    server = await asyncio.start_unix_server(connected, folder / name)
    near = await asyncio.open_unix_connection(folder / name)
    far = await there.get()
    server.close()
    return near, far


async def carried(folder: Any, meter: Meter, job: Program) -> None:
    """One stream of ``meter``, whose job side is ``job``; the peer answers each 10 bytes with 100."""
    (job_end, job_far), (net_end, net_far) = await _linked(folder, "job"), await _linked(folder, "net")
    (folder / "job").unlink()
    (folder / "net").unlink()

    async def answer() -> None:
        try:
            while await net_far[0].readexactly(10):
                net_far[1].write(bytes(100))
                await net_far[1].drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            net_far[1].close()

    async with asyncio.timeout(SECONDS):
        answering = asyncio.create_task(answer())
        carrying = asyncio.create_task(carry(job_far, net_end, meter, lambda: None))
        try:
            await job(*job_end)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            job_end[1].close()
            await carrying
            await answering


def asking(times: int) -> Program:
    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            writer.write(bytes(10))
            await reader.readexactly(100)

    return ask


async def test_rounds_are_counted_over_all_streams_and_cut(tmp_path: Any) -> None:
    meter = Meter("server", "EUCAIM", 10**6, limits=Limits(rounds=5))
    await carried(tmp_path, meter, asking(3))
    assert (meter.rounds, meter.sent, meter.received, meter.cut) == (3, 30, 300, None)
    await carried(tmp_path, meter, asking(2))
    assert (meter.rounds, meter.cut) == (5, None)
    await carried(tmp_path, meter, asking(1))
    assert meter.cut == "more than 5 rounds, which are the most that tool or policy allow"
    assert meter.received == 500, "nothing went out that could be answered"


async def test_what_is_sent_in_parts_is_one_round(tmp_path: Any) -> None:
    async def parts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(10):
            writer.write(b"x")
            await writer.drain()
        await reader.readexactly(100)

    meter = Meter("server", "EUCAIM", 10**6, limits=Limits(rounds=1))
    await carried(tmp_path, meter, parts)
    assert (meter.rounds, meter.cut) == (1, None)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(sent=45), "more than the 45 bytes to the peer that the tool declares"),
        (Limits(received=450), "more than the 450 bytes from the peer that the tool declares"),
    ],
)
async def test_bytes_of_each_way_are_cut_at_what_is_declared(tmp_path: Any, limits: Limits, said: str) -> None:
    meter = Meter("server", "EUCAIM", 10**6, limits=limits)
    await carried(tmp_path, meter, asking(10))
    assert meter.cut == said
    assert meter.use().cut == said
    assert meter.use().rounds == meter.rounds == 5


async def test_policys_budget_counts_beside(tmp_path: Any) -> None:
    meter = Meter("server", "EUCAIM", 250, limits=Limits(sent=10**6, received=10**6, rounds=100))
    await carried(tmp_path, meter, asking(10))
    assert meter.cut == "more than the 250 bytes that the site's policy allows"


async def test_at_the_server_it_is_the_peer_who_begins_a_round(tmp_path: Any) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(10))
        await reader.readexactly(100)

    meter = Meter("client", "UB", 10**6, limits=Limits(rounds=3), admitted=True)
    for _ in range(3):
        await carried(tmp_path, meter, serve)
    assert (meter.rounds, meter.cut) == (3, None)
    await carried(tmp_path, meter, serve)
    assert meter.cut is not None


def test_rounds_are_saved_on_the_way() -> None:
    meter = Meter("server", "EUCAIM", 3200, limits=Limits(rounds=64))
    meter.rounds = 1
    assert meter.parts == 0
    meter.rounds = 2
    assert meter.parts == 1


@pytest.mark.parametrize("way", ["sent", "received"])
def test_what_is_declared_is_saved_on_the_way_however_large_the_policys_budget(way: str) -> None:
    meter = Meter("server", "EUCAIM", 10**9, limits=Limits(sent=3200, received=3200))
    setattr(meter, way, 99)
    assert meter.parts == 0
    setattr(meter, way, 3200)
    assert meter.parts == 32
