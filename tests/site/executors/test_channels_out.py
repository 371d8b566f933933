"""A hostile tool that tries its connection and its artefacts, in each executor: its canary reaches nobody.

The connection is a real one: TLS between two orchestrators' ends, and at the peer whatever comes is kept. What would go
to the centre is searched, too, and what this host's Data API would show of results.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from joserfc.jwk import ECKey
from tests.resilience.test_ways_out import canary, spellings
from tests.site.executors.test_ways_out import Site, site_of
from tests.support.executors import Harness
from tests.support.running import ROOT

from fedproc.common.keys import public_jwk
from fedproc.contract.states import JobState
from fedproc.contract.wire.artefacts import decrypt_file
from fedproc.contract.wire.messages import Peer
from fedproc.demo.polling import free_ports
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.connections.carrying import Meter
from fedproc.site.connections.hub import Connections
from fedproc.site.settings import ConnectionSettings

TOOL = Path(__file__).parents[2] / "resilience" / "tools" / "talker"
WAYS = re.findall(r'^    "([^"]+)": ', (TOOL / "main.py").read_text(), re.MULTILINE)
SERVER = "j-" + "0" * 26
NAME = f"8080-{SERVER}.eucaim.jobs.fedproc.internal"
REPLY = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"
KEY = ECKey.generate_key("P-256")

pytestmark = [pytest.mark.needs_root, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass
class Ends:
    """The host under attack, and its peer's orchestrator with a server task that keeps all that comes."""

    site: Site
    port: int
    results: Path
    came: list[bytes] = field(default_factory=list)

    async def run(self, way: str) -> JobState:
        server = Peer(
            task="server", job=SERVER, host="EUCAIM", address=f"127.0.0.1:{self.port}", server_names={"http": NAME}
        )
        more = {"gang": True, "hosts": {"server": ("EUCAIM",), "work": ("UB",)}}
        return await self.site.run(way, server, **more, recipients={"EUCAIM": public_jwk(KEY)})

    async def everything(self) -> bytes:
        """All that has left the host, and what its Data API would show; artefacts as their reader has them."""
        shown = [path for path in self.results.rglob("*") if path.is_file()]
        parts = [part for path in shown for part in (path.name.encode(), path.read_bytes())]
        return b"\n".join((await self.site.centre.everything(), *self.came, *self.artefacts(), *parts))

    def artefacts(self) -> list[bytes]:
        sealed, plain = self.results.with_name("sealed"), self.results.with_name("plain")
        found = []
        for _, raw in self.site.centre.files:
            sealed.write_bytes(raw)
            decrypt_file(sealed, plain, KEY)
            found.append(plain.read_bytes())
        return found


@pytest.fixture
async def ends(harness: Harness, keys: Any) -> AsyncIterator[Ends]:
    async with site_of(harness, TOOL) as site:
        (port,) = free_ports(1)
        client, server = _connections(keys, "UB", None), _connections(keys, "EUCAIM", port)
        cast(Any, site.services).connections = client
        results = harness.folder / "results"
        results.mkdir()
        cast(Any, site.services.settings).results = results
        made = Ends(site, port, results)
        async with _serving(harness.folder / "served", made.came):
            await server.listen()
            server.admit(SERVER, {8080: harness.folder / "served"}, [Meter("work", "UB", 10**6)], lambda: None)
            yield made
            await client.close()
            await server.close()


def _connections(keys: Any, host: str, port: int | None) -> Connections:
    pair = keys.host(host)
    settings = ConnectionSettings(certificate=pair.certificate, ca_file=keys.ca_file, listen_port=port)
    return Connections(settings, pair.private, ProxyConnector())


@asynccontextmanager
async def _serving(at: Path, came: list[bytes]) -> AsyncIterator[None]:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1 << 16):
            came.append(chunk)
            writer.write(REPLY)
        writer.close()

    async with await asyncio.start_unix_server(take, at):
        yield


@pytest.mark.parametrize("way", WAYS)
async def test_no_canary_goes_by_a_connection_or_an_artefact(ends: Ends, way: str) -> None:
    await ends.run(way)
    left = await ends.everything()
    assert [each for each in spellings(canary(way)) if each in left] == []


async def test_honest_message_and_artefact_go(ends: Ends) -> None:
    """By the same policy: what the others were kept from is open, and the centre cannot read what a peer gets."""
    assert await ends.run("nothing but a count") is JobState.succeeded
    assert b"".join(ends.came).endswith(b'\r\n\r\n{"host": "UB", "n": 40, "mean": 52.5}')
    assert ends.artefacts() == [b'{"n": 40}']
    assert [b'{"n": 40}' in raw for _, raw in ends.site.centre.files] == [False]


def test_each_way_has_its_line_in_the_documentation() -> None:
    table = (ROOT / "docs/security.md").read_text().partition("## What a hostile tool tries")[2].partition("\n## ")[0]
    assert len(WAYS) > 20
    assert [way for way in WAYS if way not in table] == []
