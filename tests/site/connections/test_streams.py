"""A tool that opens streams without end: it is refused, and everybody else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fedproc.demo.polling import free_ports
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.connections.carrying import StreamLimit
from fedproc.site.connections.hub import Connections, Meter, Route
from fedproc.site.settings import ConnectionSettings

SERVER, CLIENT, OTHER = ("j-" + digit * 26 for digit in "012")
NAME = f"7000-{SERVER}.eucaim.jobs.fedproc.internal"
GREEDY = """
import json, resource, socket, sys
path, count = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
held, refused = [], 0
for _ in range(count):
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(20)
    try:
        one.connect(path)
        one.sendall(b"x")
        held.append(one)
    except OSError:
        refused += 1
open_ = 0
for one in held:
    try:
        open_ += one.recv(1) == b"x"
    except OSError:
        pass
print(json.dumps({"open": open_}), flush=True)
sys.stdin.read()
"""


class Ends:
    """An aggregator whose server task echoes, and a host with two jobs that may dial it."""

    def __init__(self, keys: Any, folder: Path, **limits: int) -> None:
        (self.port,) = free_ports(1)
        self.folder = folder
        self.server = self._connections(keys, "EUCAIM", self.port, {})
        self.client = self._connections(keys, "UB", None, limits)

    @staticmethod
    def _connections(keys: Any, host: str, port: int | None, limits: dict[str, int]) -> Connections:
        pair = keys.host(host)
        settings = ConnectionSettings(certificate=pair.certificate, ca_file=keys.ca_file, listen_port=port, **limits)
        return Connections(settings, pair.private, ProxyConnector())

    def place(self, job: str) -> Path:
        return self.folder / job

    async def open(self) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while chunk := await reader.read(100):
                writer.write(chunk)
            writer.close()

        self.task = await asyncio.start_unix_server(echo, self.folder / "served", backlog=1000)
        await self.server.listen()
        self.server.admit(SERVER, {7000: self.folder / "served"}, [Meter("client", "UB", 10**6)], lambda: None)
        for job in (CLIENT, OTHER):
            route = Route("EUCAIM", f"127.0.0.1:{self.port}", NAME)
            await self.client.forward(job, self.place(job), route, Meter("server", "EUCAIM", 10**6), lambda: None)

    async def works(self, job: str) -> bool:
        reader, writer = await asyncio.open_unix_connection(self.place(job))
        writer.write(b"x")
        try:
            async with asyncio.timeout(30):
                return await reader.read(1) == b"x"
        except ConnectionError:
            return False
        finally:
            writer.close()

    async def close(self) -> None:
        await self.client.close()
        await self.server.close()
        self.task.close()


@contextlib.asynccontextmanager
async def opened(keys: Any, folder: Path, **limits: int) -> AsyncIterator[Ends]:
    ends = Ends(keys, folder, **limits)
    await ends.open()
    try:
        yield ends
    finally:
        await ends.close()


@contextlib.asynccontextmanager
async def greedy(path: Path, count: int) -> AsyncIterator[int]:
    """A tool that opens so many streams and keeps them; how many of them lead to its peer."""
    pipe = asyncio.subprocess.PIPE
    tool = await asyncio.create_subprocess_exec(
        sys.executable, "-c", GREEDY, str(path), str(count), stdin=pipe, stdout=pipe
    )
    assert tool.stdout is not None
    try:
        yield json.loads(await tool.stdout.readline())["open"]
    finally:
        assert tool.stdin is not None
        tool.stdin.close()
        await tool.wait()


@pytest.mark.process
async def test_a_job_has_so_many_streams_and_another_job_has_its_own(
    keys: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(keys, tmp_path, streams_per_job=5) as ends:
        async with greedy(ends.place(CLIENT), 60) as reached:
            assert reached == 5
            assert not await ends.works(CLIENT)
            assert await ends.works(OTHER)
        async with asyncio.timeout(20):
            while not await ends.works(CLIENT):  # what it closed it may open again
                await asyncio.sleep(0.05)
    assert caplog.text.count("connection.too_many") == 1, "told once, not once for each"


@pytest.mark.process
async def test_all_jobs_together_have_so_many_and_none_has_more_than_half(keys: Any, tmp_path: Path) -> None:
    async with opened(keys, tmp_path, streams=4) as ends, greedy(ends.place(CLIENT), 20) as first:
        assert await ends.works(OTHER)
        async with greedy(ends.place(OTHER), 20) as second:
            assert (first, second) == (2, 2)


@pytest.mark.process
async def test_thousands_of_streams_leave_descriptors_to_the_daemon(keys: Any, tmp_path: Path) -> None:
    """The daemon has few descriptors, and what its settings allow would need more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        async with opened(keys, tmp_path) as ends:
            resource.setrlimit(resource.RLIMIT_NOFILE, (800, hard))  # both ends are in this process
            ends.server._streams = StreamLimit(1000, 1000)  # of a machine that has more
            async with greedy(ends.place(CLIENT), 2000) as reached:
                assert 0 < reached <= 128
                assert await ends.works(OTHER), "another job goes on"
                left = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
                for descriptor in left:
                    os.close(descriptor)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
async def test_a_server_admits_so_many_of_each_peer(keys: Any, tmp_path: Path) -> None:
    """Its own bound, whatever the other host allows."""
    async with opened(keys, tmp_path) as ends:
        ends.server._streams._per_job = 2
        streams = [await asyncio.open_unix_connection(ends.place(CLIENT)) for _ in range(6)]
        came = []
        for reader, writer in streams:
            writer.write(b"x")
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(30):
                    came.append(await reader.read(1))
        assert came.count(b"x") == 2
        for _, writer in streams:
            writer.close()


def test_a_job_of_many_peers_leaves_half_of_all_streams_to_other_jobs() -> None:
    limit = StreamLimit(100, 20)
    with contextlib.ExitStack() as open_ones:
        taken = [open_ones.enter_context(limit.one("j-1", f"HOST{peer}")) for peer in range(8) for _ in range(20)]
        assert sum(taken) == 50
        assert open_ones.enter_context(limit.one("j-2", "HOST1"))
    with limit.one("j-1", "HOST1") as again:
        assert again
