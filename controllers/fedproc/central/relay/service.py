"""The relay's loops: the broker's connection, publishing, intake, the clock, and its own sign of life."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
import uuid
from collections.abc import Callable
from typing import Any

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from aiormq.exceptions import AMQPError, InvalidFrameError
from joserfc.jwk import ECKey
from sqlalchemy import Engine, delete, insert, select, update

from fedproc.central.auth.issuer import Issuer
from fedproc.central.db.engine import deciding, reading, writing
from fedproc.central.db.schema import hosts, relays
from fedproc.central.experiments import deadlines, reconcile
from fedproc.central.notify import Bell
from fedproc.central.relay.dead_letters import take_dead_letters
from fedproc.central.relay.intake import Taken, take_in
from fedproc.central.relay.publisher import Publisher
from fedproc.central.relay.topology import Topology
from fedproc.central.settings import CentralSettings
from fedproc.common.errors import FedprocError, UnavailableError
from fedproc.common.log import get_logger
from fedproc.contract.wire import routing

log = get_logger(__name__)

_DOWN = (AMQPError, OSError, TimeoutError, FedprocError, aio_pika.exceptions.DeliveryError)
_LONGEST_PAUSE = 15.0
_PREFETCH = 200
_BATCH = 500
_PACE = 0.02
"""seconds between two transactions of a loop: what comes within them shares the next one"""
_TICK = 2.0
_SAFETY_LOOK = 5.0
_FINE = "ok"


class Relay:
    """One relay. :meth:`run` ends only when it is cancelled."""

    def __init__(self, settings: CentralSettings, engine: Engine, bell: Bell, key: ECKey) -> None:
        self._settings = settings
        self._engine = engine
        self._bell = bell
        self._key = key
        self._name = f"relay-{uuid.uuid4().hex[:12]}"
        self._publisher = Publisher(engine, self._name, key, settings.hold_seconds)
        broker = settings.broker
        client = {"client_id": broker.client_id, "client_key": broker.client_key}
        self._issuer = Issuer(settings.issuer.model_copy(update=client))
        self._state = "not connected yet"
        self._outbox = asyncio.Event()
        self._hosts = asyncio.Event()
        self._incoming: asyncio.Queue[tuple[str, AbstractIncomingMessage]] = asyncio.Queue()
        self._digests: dict[str, tuple[str, str]] = {}

    @property
    def state(self) -> str:
        """How it stands with the broker: ``ok``, or what is wrong."""
        return self._state

    async def run(self) -> None:
        """Everything at once; a fault that no loop expects ends the program, and its supervisor starts it again."""
        await asyncio.to_thread(self._publisher.take_back)
        try:
            async with asyncio.TaskGroup() as group:
                for loop in (self._bell.listen(self._heard), self._connect(), self._clock(), self._sign_of_life()):
                    group.create_task(loop)
        finally:
            self._sign_off()

    def _heard(self, topic: str) -> None:
        if topic == "outbox":
            self._outbox.set()
        elif topic == "hosts":
            self._hosts.set()

    # -- the connection --------------------------------------------------------------------------

    async def _connect(self) -> None:
        pause = 0.2
        while True:
            began = time.monotonic()
            try:
                await self._session()
            except InvalidFrameError:  # it answered the opening by a close, whose reason the library does not tell
                self._state = "the broker took the token and then refused the connection: see the broker's log for why"
            except _DOWN as fault:
                self._state = str(fault) or type(fault).__name__
            except ExceptionGroup as faults:
                self._state = "; ".join(str(fault) or type(fault).__name__ for fault in faults.exceptions)
                if faults.split(_DOWN)[1] is not None:
                    raise
            if time.monotonic() - began > _LONGEST_PAUSE:
                pause = 0.2
            log.warning("broker.disconnected", reason=self._state, pause_seconds=round(pause, 1))
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _session(self) -> None:
        token, lifetime = await self._token()
        connection = await self._open(token)
        async with connection:
            major = int(str(_version(connection)).partition(".")[0] or 3)
            topology = Topology(await connection.channel(publisher_confirms=True), major)
            await topology.declare()
            self._incoming = asyncio.Queue()
            async with asyncio.TaskGroup() as group:
                group.create_task(_until_closed(connection))
                group.create_task(self._renew(connection, lifetime))
                group.create_task(self._keep_topology(connection, topology))
                group.create_task(self._publish(topology))
                group.create_task(self._consume_dead(connection))
                group.create_task(self._take_in(topology))

    async def _open(self, token: str) -> AbstractConnection:
        broker = self._settings.broker
        context = ssl.create_default_context(cafile=str(broker.ca_file) if broker.ca_file else None)
        return await aio_pika.connect(
            host=broker.host,
            port=broker.port,
            login=broker.client_id,
            password=token,
            virtualhost=broker.vhost,
            ssl=broker.tls,
            ssl_context=context if broker.tls else None,
            client_properties={"connection_name": self._name},
            timeout=20,
        )

    async def _token(self) -> tuple[str, float]:
        status, body = await self._issuer.grant({"grant_type": "client_credentials"})
        if status != 200:
            raise UnavailableError(
                f"the issuer gives the relay no token: {body.get('error')} {body.get('error_description')}"
            )
        return str(body["access_token"]), float(body.get("expires_in", 60))

    async def _renew(self, connection: AbstractConnection, lifetime: float) -> None:
        while True:
            await asyncio.sleep(max(lifetime - 30, lifetime / 2))
            token, lifetime = await self._token()
            await connection.update_secret(token, reason="token renewed")

    async def _keep_topology(self, connection: AbstractConnection, topology: Topology) -> None:
        """Declare the queues of every active host, and consume its events; again whenever hosts change."""
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=_PREFETCH)
        while True:
            self._hosts.clear()
            for host in await asyncio.to_thread(self._active_hosts):
                if await topology.declare_host(host):
                    queue = await channel.get_queue(routing.events_queue(host), ensure=False)
                    await queue.consume(self._receiver(host))
            self._state = _FINE
            self._outbox.set()
            await self._hosts.wait()

    def _receiver(self, host: str) -> Callable[[AbstractIncomingMessage], Any]:
        async def receive(message: AbstractIncomingMessage) -> None:
            self._incoming.put_nowait((host, message))

        return receive

    def _active_hosts(self) -> list[str]:
        with reading(self._engine) as connection:
            return list(connection.execute(select(hosts.c.id).where(hosts.c.active)).scalars())

    # -- out -------------------------------------------------------------------------------------

    async def _publish(self, topology: Topology) -> None:
        while True:
            await _set_or_after(self._outbox, _SAFETY_LOOK)
            self._outbox.clear()
            if self._state != _FINE:
                continue
            if await self._publisher.publish_all(topology, time.time()):
                self._bell.ring("events")
            await asyncio.sleep(_PACE)

    # -- in --------------------------------------------------------------------------------------

    async def _take_in(self, topology: Topology) -> None:
        while True:
            batch = [await self._incoming.get()]
            while not self._incoming.empty() and len(batch) < _BATCH:
                batch.append(self._incoming.get_nowait())
            taken = await asyncio.to_thread(self._write, [(host, message.body) for host, message in batch])
            for _, message in batch:
                await message.ack()
            if taken.events:
                self._bell.ring("events")
            if taken.messages:
                self._outbox.set()
            for host in taken.heartbeats:
                await self._compare(host, taken, topology)
            await asyncio.sleep(_PACE)

    def _write(self, batch: list[tuple[str, bytes]]) -> Taken:
        return take_in(self._engine, batch, time.time())

    async def _compare(self, host: str, taken: Taken, topology: Topology) -> None:
        """Ask for the inventory when host and centre disagree twice in the same way and nothing is on its way."""
        theirs = taken.heartbeats[host].open_jobs_digest
        ours = await asyncio.to_thread(self._books, host)
        before, self._digests[host] = self._digests.get(host), (theirs, ours)
        if theirs == ours or before != (theirs, ours) or taken.heartbeats[host].condition != "accepting":
            return
        if await topology.waiting_jobs(host):
            return
        log.warning("open_jobs.differ", host=host)
        self._digests.pop(host)
        await asyncio.to_thread(self._ask, host)
        self._outbox.set()

    def _books(self, host: str) -> str:
        with reading(self._engine) as connection:
            return reconcile.books(connection, host)

    def _ask(self, host: str) -> None:
        with writing(self._engine) as connection:
            reconcile.ask(connection, host, time.time())

    async def _consume_dead(self, connection: AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=_PREFETCH)
        queue = await channel.get_queue(routing.DEAD, ensure=False)
        async with queue.iterator() as messages:
            async for message in messages:
                deaths: Any = (message.headers or {}).get("x-death") or [{}]
                source = str(deaths[0].get("queue", message.routing_key))
                if await asyncio.to_thread(self._write_dead, source, message.body):
                    self._bell.ring("events")
                    self._outbox.set()
                await message.ack()

    def _write_dead(self, queue: str, raw: bytes) -> bool:
        from fedproc.central.experiments.advance import advance

        now = time.time()
        with deciding(self._engine) as connection:
            changed = take_dead_letters(connection, [(queue, raw)], self._key, now)
            for experiment in changed:
                advance(connection, experiment, now)
        return bool(changed)

    # -- the clock and the sign of life ----------------------------------------------------------

    async def _clock(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            try:
                changed = await asyncio.to_thread(self._pass_deadlines)
            except UnavailableError as fault:
                log.warning("deadlines.waiting", reason=fault.message)
                continue
            if changed:
                self._bell.ring("events")
                self._outbox.set()

    def _pass_deadlines(self) -> bool:
        with deciding(self._engine) as connection:
            return deadlines.pass_deadlines(connection, time.time())

    async def _sign_of_life(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._write_life)
            except UnavailableError as fault:
                log.warning("database.unavailable", reason=fault.message)
            await asyncio.sleep(_TICK)

    def _write_life(self) -> None:
        now = time.time()
        values = {"seen": now, "broker": self._state}
        with writing(self._engine) as connection:
            connection.execute(delete(relays).where(relays.c.seen < now - 3600))
            if connection.execute(update(relays).where(relays.c.id == self._name).values(**values)).rowcount == 0:
                connection.execute(insert(relays).values(id=self._name, **values))

    def _sign_off(self) -> None:
        try:
            with writing(self._engine) as connection:
                connection.execute(delete(relays).where(relays.c.id == self._name))
        except FedprocError as fault:
            log.warning("relay.not_signed_off", reason=fault.message)


async def _until_closed(connection: AbstractConnection) -> None:
    closed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    connection.close_callbacks.add(lambda _sender, fault: _settle(closed, fault))
    fault = await closed
    raise UnavailableError(f"the broker closed the connection: {fault}")


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


async def _set_or_after(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return  # a ring may have been lost: look anyway


def _version(connection: AbstractConnection) -> str:
    transport: Any = connection.transport
    properties = transport.connection.server_properties if transport else {}
    return str(properties.get("version", "3"))
