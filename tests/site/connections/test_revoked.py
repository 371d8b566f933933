"""Connections between hosts, when the key of one of them is revoked: over real TLS, with a real journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from joserfc.jwk import ECKey

from fedproc.common.keys import Signer, read_key
from fedproc.contract.enrolment import thumbprint_of
from fedproc.contract.wire.jws import CENTRAL, seal
from fedproc.contract.wire.messages import Revocation
from fedproc.demo.polling import free_ports
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.connections.hub import Connections, Meter, Route
from fedproc.site.jobs.inbox import Inbox
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.reconciliation import Reconciliation
from fedproc.site.jobs.services import Services
from fedproc.site.journal import Journal
from fedproc.site.settings import ConnectionSettings

pytestmark = pytest.mark.slow


JOB = "j-" + "0" * 26
NAME = f"7000-{JOB}.eucaim.jobs.fedproc.internal"


class Ends:
    """An aggregator with a server task that echoes, and hosts that dial it."""

    def __init__(self, keys: Any, folder: Path) -> None:
        self.keys = keys
        self.folder = folder
        (self.port,) = free_ports(1)
        self.server = self.connections("EUCAIM", self.port)
        self.closing: list[Any] = []

    def connections(self, host: str, port: int | None = None) -> Connections:
        pair = self.keys.host(host)
        settings = ConnectionSettings(certificate=pair.certificate, ca_file=self.keys.ca_file, listen_port=port)
        return Connections(settings, pair.private, ProxyConnector())

    def key(self, host: str) -> str:
        return read_key(self.keys.key(host).private).thumbprint()

    async def serve(self) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while chunk := await reader.read(100):
                writer.write(chunk)

        self.closing.append(await asyncio.start_unix_server(echo, self.folder / "served"))
        await self.server.listen()
        self.admit()

    def admit(self, **keys: str) -> None:
        meters = [Meter("client", host, 1000, keys.get(host)) for host in ("UB", "BSC")]
        self.server.admit(JOB, {7000: self.folder / "served"}, meters, lambda: None)

    async def dial(
        self, host: str, key: str | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Connections]:
        client, at = self.connections(host), self.folder / f"out-{host}-{len(self.closing)}"
        self.closing.append(client)
        route = Route("EUCAIM", f"127.0.0.1:{self.port}", NAME, key)
        await client.forward("j-" + "1" * 26, at, route, Meter("server", "EUCAIM", 1000), lambda: None)
        return (*await asyncio.open_unix_connection(at), client)

    async def works(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"ping")
        try:
            return await asyncio.wait_for(reader.read(4), 30) == b"ping"
        except ConnectionError:
            return False

    async def close(self) -> None:
        for end in self.closing:
            if isinstance(end, Connections):
                await end.close()
            else:
                end.close()
        await self.server.close()


@pytest.fixture
async def ends(keys: Any, tmp_path: Path) -> AsyncIterator[Ends]:
    made = Ends(keys, tmp_path)
    await made.serve()
    yield made
    await made.close()


async def test_running_connections_are_cut_and_none_is_let_in(ends: Ends) -> None:
    reader, writer, _ = await ends.dial("BSC")
    beside, beside_writer, _ = await ends.dial("UB")
    assert await ends.works(reader, writer)
    assert await ends.works(beside, beside_writer)
    await ends.server.revoke(frozenset({ends.key("BSC")}))
    assert await asyncio.wait_for(reader.read(), 30) == b""
    again, again_writer, _ = await ends.dial("BSC")
    assert not await ends.works(again, again_writer)
    assert await ends.works(beside, beside_writer)
    await ends.server.revoke(frozenset())
    lifted, lifted_writer, _ = await ends.dial("BSC")
    assert await ends.works(lifted, lifted_writer)


async def test_the_side_that_dials_cuts_too(ends: Ends) -> None:
    reader, writer, client = await ends.dial("UB")
    assert await ends.works(reader, writer)
    await client.revoke(frozenset({ends.key("EUCAIM")}))
    assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_a_peer_must_show_the_key_that_the_centre_named(ends: Ends) -> None:
    other = ECKey.generate_key("P-256").thumbprint()
    ends.admit(BSC=other, UB=ends.key("UB"))
    reader, writer, _ = await ends.dial("BSC")
    assert not await ends.works(reader, writer)
    reader, writer, _ = await ends.dial("UB", ends.key("EUCAIM"))
    assert await ends.works(reader, writer)
    reader, writer, _ = await ends.dial("UB", other)
    assert not await ends.works(reader, writer)


# -- the message, and what the journal keeps of it


class Letter:
    """What the broker hands over."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.fate = ""

    def ack(self) -> None:
        self.fate = "ack"

    def nack(self) -> None:
        self.fate = "nack"

    def reject(self) -> None:
        self.fate = "reject"


async def told(ends: Ends, journal: Journal, *messages: Revocation) -> list[str]:
    """The aggregator's orchestrator gets these from its control queue; what became of each."""
    key = ECKey.generate_key("P-256")
    settings = SimpleNamespace(host="EUCAIM", state=ends.folder, journal_folder=ends.folder)
    services = cast(Services, SimpleNamespace(settings=settings, journal=journal, connections=ends.server))
    orchestrator = Orchestrator(services)
    inbox = Inbox(services, orchestrator, Reconciliation(services, orchestrator), {key.thumbprint(): key})
    letters = [Letter(seal(message, Signer(key), iss=CENTRAL, aud="EUCAIM")) for message in messages]
    for letter in letters:
        await inbox.control(cast(Any, letter))
    return [letter.fate for letter in letters]


async def test_a_revocation_is_kept_across_restarts_and_lifted(ends: Ends, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    await journal.open()
    reader, writer, _ = await ends.dial("BSC")
    assert await ends.works(reader, writer)
    now, bsc = datetime.now(UTC), ends.key("BSC")
    revoked = Revocation(host="BSC", key=bsc, at=now)
    assert await told(ends, journal, revoked, revoked) == ["ack", "ack"]
    assert await asyncio.wait_for(reader.read(), 30) == b""
    await journal.close()

    again = Journal(tmp_path / "journal.sqlite")
    await again.open()
    assert await again.revoked_keys() == {bsc}
    earlier = Revocation(host="BSC", key=bsc, revoked=False, at=now - timedelta(seconds=1))
    assert await told(ends, again, earlier) == ["ack"]
    assert await again.revoked_keys() == {bsc}
    await told(ends, again, Revocation(host="BSC", key=bsc, revoked=False, at=now + timedelta(seconds=1)))
    assert await again.revoked_keys() == frozenset()
    reader, writer, _ = await ends.dial("BSC")
    assert await ends.works(reader, writer)
    await again.close()


def test_the_thumbprint_is_that_of_the_enrolled_key(keys: Any) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    pem = keys.host("UB").certificate.read_bytes()
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    assert thumbprint_of(der) == read_key(keys.key("UB").private).thumbprint()
    assert thumbprint_of(b"no certificate") is None
