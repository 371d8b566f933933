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
from fedproc.contract.wire.messages import Peer
from fedproc.site.centre.egress import ProxyConnector, Stream
from fedproc.site.connections.carrying import Changed, Meter, StreamLimit, carry
from fedproc.site.connections.tls import context_of, shown_host, shown_key
from fedproc.site.settings import ConnectionSettings

log = get_logger(__name__)

_SNI = re.compile(r"^(?P<port>\d{1,5})-(?P<job>j-[0-9a-v]{26})\.")
_DIAL_SECONDS = 20

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
        self._streams = StreamLimit(settings.streams, settings.streams_per_job)
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
            self._admit_connection,
            self._settings.listen_host,
            self._settings.listen_port,
            ssl=self._server_context,
            ssl_handshake_timeout=_DIAL_SECONDS,
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
            with self._streams.one(job, route.host) as free:
                try:
                    dialled = await self._dial(route) if free else None
                except (OSError, ssl.SSLError, SystemFaultError, UnavailableError, TimeoutError) as error:
                    dialled, reason = None, str(error) or type(error).__name__
                    log.warning("connection.failed", job=job, peer=route.host, reason=reason)
                if dialled is None:
                    writer.transport.abort()
                    return
                with self._held(shown_key(dialled[1])):
                    await carry((reader, writer), dialled, meter, changed)

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
        if named is None or admission is None or meter is None or path is None or not self._counts(key, meter.key):
            more = {"host_of_peer": host, "key": key, "revoked": key in self._revoked}
            log.warning("connection.refused", asked_for=self._names.get(stream), **more)
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        admission.streams.add(task)
        try:
            set_keepalive(writer)
            with self._held(key), self._streams.one(named["job"], meter.host) as free:
                if not free:
                    return
                in_reader, in_writer = await _open_job_socket(path)
                await carry((in_reader, in_writer), (reader, writer), meter, admission.changed)
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
