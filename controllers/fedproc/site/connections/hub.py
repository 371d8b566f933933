"""Connections between tasks of one experiment: the only network that a job has (docs/architecture.md, "Connections").

A client task's bytes come from its namespace by a unix socket; this host dials the gateway (or the aggregator)
over TLS with its enrolment certificate. The aggregator admits the peers of a running job only, and passes the
bytes to the server task's own unix socket. Both ends count, and cut where the site's policy says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
import stat
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from fedproc.common.errors import SystemFaultError, UnavailableError
from fedproc.common.log import get_logger
from fedproc.common.sockets import set_keepalive, unix_address
from fedproc.contract.wire.messages import ConnectionUse, Peer
from fedproc.site.centre.egress import ProxyConnector, Stream
from fedproc.site.connections.tls import context_of, shown_host, shown_key
from fedproc.site.settings import ConnectionSettings

log = get_logger(__name__)

_CHUNK = 1 << 16
_SNI = re.compile(r"^(?P<port>\d{1,5})-(?P<job>j-[0-9a-v]{26})\.")
_DIAL_SECONDS = 20

Changed = Callable[[], None]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Route:
    """Where a peer's port is reached: the address to dial, the name to ask TLS for, the host (and key) it must be."""

    host: str
    address: str
    server_name: str
    key: str | None = None


def route_to(peer: Peer, port: str) -> Route:
    """The way to a peer's named port. Raises :class:`SystemFaultError` if the start message gave none."""
    if peer.address is None or port not in peer.server_names:
        raise SystemFaultError(f"the start message gives no way to port {port} of task {peer.task} on {peer.host}")
    return Route(peer.host, peer.address, peer.server_names[port], peer.key)


@dataclass
class Meter:
    """Bytes over one job's connections with one task of one host, and the most that may go each way.

    ``key`` is the thumbprint that the host's certificate must show, if the centre named it.
    """

    task: str
    host: str
    budget: int
    key: str | None = None
    sent: int = 0
    received: int = 0
    cut: str | None = None

    def use(self) -> ConnectionUse:
        return ConnectionUse(task=self.task, host=self.host, sent=self.sent, received=self.received, cut=self.cut)


@dataclass
class _Admission:
    """A running server job: where its ports are, and who may come in."""

    sockets: dict[int, Path]
    meters: dict[str, Meter]
    changed: Changed
    streams: set[asyncio.Task[None]] = field(default_factory=set)


@dataclass
class _Forwards:
    servers: list[asyncio.Server] = field(default_factory=list)
    streams: set[asyncio.Task[None]] = field(default_factory=set)


class Connections:
    """All connections of this host's jobs."""

    def __init__(self, settings: ConnectionSettings, key: Path, egress: ProxyConnector) -> None:
        self._settings = settings
        self._egress = egress
        self._client = context_of(ssl.PROTOCOL_TLS_CLIENT, settings, key)
        self._client.check_hostname = False  # the peer is pinned by its host id, see _dial
        self._names: WeakKeyDictionary[ssl.SSLObject, str] = WeakKeyDictionary()
        self._server_context = context_of(ssl.PROTOCOL_TLS_SERVER, settings, key)
        self._server_context.sni_callback = self._remember_name
        self._listener: asyncio.Server | None = None
        self._admitted: dict[str, _Admission] = {}
        self._revoked: frozenset[str] = frozenset()
        self._living: dict[asyncio.Task[None], str | None] = {}
        self._forwards: dict[str, _Forwards] = {}

    async def listen(self) -> None:
        """Take connections for server tasks, if this host is an aggregator."""
        if self._settings.listen_port is None:
            return
        self._listener = await asyncio.start_server(
            self._admit_connection, self._settings.listen_host, self._settings.listen_port, ssl=self._server_context
        )

    async def close(self) -> None:
        """End everything."""
        if self._listener is not None:
            self._listener.close()
        for job in [*self._admitted, *self._forwards]:
            await self.drop(job)

    def admit(self, job: str, sockets: dict[int, Path], meters: list[Meter], changed: Changed) -> None:
        """Let the peers named by ``meters`` reach the ports of a running server job."""
        self._admitted[job] = _Admission(sockets, {meter.host: meter for meter in meters}, changed)

    async def forward(self, job: str, at: Path, route: Route, meter: Meter, changed: Changed) -> None:
        """Carry what connects to the unix socket ``at`` along ``route``."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                out_reader, out_writer = await self._dial(route)
            except (OSError, ssl.SSLError, SystemFaultError, UnavailableError, TimeoutError) as error:
                log.warning(
                    "connection.failed",
                    job=job,
                    peer=route.host,
                    reason=str(error) or type(error).__name__,
                )
                writer.close()
                return
            with self._held(shown_key(out_writer)):
                await _carry((reader, writer), (out_reader, out_writer), meter, changed)

        forwards = self._forwards.setdefault(job, _Forwards())
        server = await asyncio.start_unix_server(_tracked(connected, forwards.streams), sock=_socket_for_all(at))
        forwards.servers.append(server)

    async def revoke(self, keys: frozenset[str]) -> None:
        """Of all keys, those that count no more: cut the connections with their hosts, and let none in."""
        self._revoked = keys
        cut = {stream for stream, key in self._living.items() if key in keys}
        for stream in cut:
            log.warning("connection.revoked", key=self._living[stream])
            stream.cancel()
        await asyncio.gather(*cut, return_exceptions=True)

    async def drop(self, job: str) -> None:
        """Close all connections of a job, and let nobody in any more."""
        streams: set[asyncio.Task[None]] = set()
        if admission := self._admitted.pop(job, None):
            streams |= admission.streams
        if forwards := self._forwards.pop(job, None):
            for server in forwards.servers:
                server.close()
            streams |= forwards.streams
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)

    def _remember_name(self, stream: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        self._names[stream] = name or ""

    async def _dial(self, route: Route) -> Stream:
        host, _, number = route.address.rpartition(":")
        async with asyncio.timeout(_DIAL_SECONDS):
            reader, writer = await self._egress.open_connection(
                host.strip("[]"), int(number), self._client, route.server_name
            )
        shown = shown_host(writer)
        if shown != route.host or not self._counts(shown_key(writer), route.key):
            writer.close()
            raise SystemFaultError(
                f"{route.address} shows a certificate of {shown} that does not count for {route.host}"
            )
        return reader, writer

    def _counts(self, key: str | None, expected: str | None) -> bool:
        """Whether a peer's key is the enrolled one, and not revoked."""
        return key is not None and key not in self._revoked and expected in {None, key}

    @contextlib.contextmanager
    def _held(self, key: str | None) -> Iterator[None]:
        """The present task carries a connection with the owner of ``key``."""
        task = asyncio.current_task()
        assert task is not None
        self._living[task] = key
        try:
            yield
        finally:
            del self._living[task]

    async def _admit_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = writer.get_extra_info("ssl_object")
        named = _SNI.match(self._names.get(stream, ""))
        admission = self._admitted.get(named["job"]) if named else None
        host, key = shown_host(writer), shown_key(writer)
        meter = admission.meters.get(host) if admission else None
        path = admission.sockets.get(int(named["port"])) if admission and named else None
        if admission is None or meter is None or path is None or not self._counts(key, meter.key):
            more = {"host_of_peer": host, "key": key, "revoked": key in self._revoked}
            log.warning("connection.refused", asked_for=self._names.get(stream), **more)
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        admission.streams.add(task)
        try:
            set_keepalive(writer)
            with self._held(key):
                in_reader, in_writer = await _open_job_socket(path)
                await _carry((in_reader, in_writer), (reader, writer), meter, admission.changed)
        except OSError as error:
            more = {"asked_for": self._names.get(stream), "reason": str(error)}
            log.warning("connection.no_listener", **more)
        finally:
            admission.streams.discard(task)
            writer.close()


def _socket_for_all(at: Path) -> socket.socket:
    """A socket to which the job's user, whoever that is, may connect."""
    at.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX)
    before = os.umask(0)
    try:
        with unix_address(at) as address:
            made.bind(address)
    finally:
        os.umask(before)
    return made


async def _open_job_socket(path: Path) -> Stream:
    """Connect to a socket that a job made. The job may have put anything in its place, so no link is followed."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise FileNotFoundError(f"{path.name} is no socket")
        return await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


async def _carry(job: Stream, net: Stream, meter: Meter, changed: Changed) -> None:
    """Carry bytes both ways until one side ends or the budget is used up, then close both."""

    def count_sent(size: int) -> bool:
        meter.sent += size
        return meter.sent <= meter.budget

    def count_received(size: int) -> bool:
        meter.received += size
        return meter.received <= meter.budget

    ways = {
        asyncio.create_task(_pump(job[0], net[1], count_sent)),
        asyncio.create_task(_pump(net[0], job[1], count_received)),
    }
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if any(not way.result() for way in done):
            meter.cut = f"more than the {meter.budget} bytes that the site's policy allows"
            changed()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for _, writer in (job, net):
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: Callable[[int], bool]) -> bool:
    """Copy until the end; False if the count forbade to go on."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while chunk := await reader.read(_CHUNK):
            if not counted(len(chunk)):
                return False
            writer.write(chunk)
            await writer.drain()
    return True


def _tracked(handler: Handler, streams: set[asyncio.Task[None]]) -> Handler:
    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        streams.add(task)
        try:
            await handler(reader, writer)
        finally:
            streams.discard(task)

    return run
