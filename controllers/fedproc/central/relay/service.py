"""The relay's loops: the broker's connection, publishing, intake, the clock, and its own sign of life."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update

from fedproc.central.auth.issuer import Issuer
from fedproc.central.db.engine import read_transaction, serialized_transaction, write_transaction
from fedproc.central.db.schema import hosts, relays
from fedproc.central.experiments import reconcile
from fedproc.central.experiments.advance import advance
from fedproc.central.files.blobs import Blobs
from fedproc.central.notify import Notifier
from fedproc.central.relay.consumers import NARROW, WIDE, Consumers, Received, Waiting
from fedproc.central.relay.dead_letters import ingest_dead_letters
from fedproc.central.relay.ingest import Message, ingest
from fedproc.central.relay.ingested import IngestResult
from fedproc.central.relay.publisher import Publisher
from fedproc.central.relay.ticks import Ticks
from fedproc.central.relay.topology import Topology
from fedproc.central.retention.keeper import Keeper
from fedproc.central.retention.storage import Storage
from fedproc.central.settings import CentralSettings
from fedproc.central.tlog.sequencer import Sequencer
from fedproc.central.tracing.sender import TraceSender
from fedproc.common.amqp import BrokerAddress, Delivery, PublishingChannel, Session, keep_connected
from fedproc.common.errors import FedprocError, UnavailableError
from fedproc.common.http import text_of
from fedproc.common.keys import Signer
from fedproc.common.log import get_logger
from fedproc.common.tasks import kept_up, run_together
from fedproc.common.tlog.errors import LogError
from fedproc.common.tls import client_context
from fedproc.contract.wire import routing

log = get_logger(__name__)

_LONGEST_PAUSE = 15.0
_DEAD_PREFETCH = 8
"""of messages of the centre's own that hosts could not read: each may have 16 MiB"""
_PACE = 0.02
"""seconds between two transactions of a loop: what comes within them shares the next one"""
_TICK = 2.0
_POLL_SECONDS = 5.0
_OK = "ok"


class Relay:
    """One relay. :meth:`run` ends only when it is cancelled."""

    def __init__(self, settings: CentralSettings, engine: Engine, notifier: Notifier, signer: Signer) -> None:
        self._settings = settings
        self._engine = engine
        self._notifier = notifier
        self._dispatch_keys = signer.trusted
        self._name = f"relay-{uuid.uuid4().hex[:12]}"
        self._sequencer = Sequencer(engine, settings)
        self._publisher = Publisher(engine, self._name, signer, settings.hold_seconds, self._sequencer)
        broker = settings.broker
        client = {"client_id": broker.client_id, "client_key": broker.client_key}
        self._issuer = Issuer(settings.issuer.model_copy(update=client))
        self._keeper = Keeper(settings.retention, Storage(engine, Blobs(settings.files)))
        self._state = "not connected yet"
        self._ticks = Ticks(engine)
        self._outbox = asyncio.Event()
        self._hosts = asyncio.Event()
        self._waiting = Waiting()
        self._digests: dict[str, tuple[str, str]] = {}

    @property
    def state(self) -> str:
        """How it stands with the broker: ``ok``, or what is wrong: also with the log, before which nothing is sent."""
        return self._sequencer.problem or self._state

    async def run(self) -> None:
        """Everything at once; a loop that a fault ends that it does not expect is begun again, and the log says so."""
        await asyncio.to_thread(self._publisher.release_claims)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._notifier.keep_listening(self._on_topic))
                loops = {
                    "broker": self._connect, "deadlines": self._clock, "heartbeat": self._heartbeat,
                    "retention": self._keeper.run, "transparency log": self._keep_log,
                }  # fmt: skip
                for name, loop in loops.items():
                    group.create_task(kept_up(name, loop))
                if self._settings.tracing is not None:
                    group.create_task(TraceSender(self._engine, self._settings.tracing).run())
        finally:
            self._deregister()

    def _on_topic(self, topic: str) -> None:
        if topic == "outbox":
            self._outbox.set()
        elif topic == "hosts":
            self._hosts.set()

    # -- the connection --------------------------------------------------------------------------

    async def _connect(self) -> None:
        await keep_connected(self._open, self._serve_session, self._disconnected, _LONGEST_PAUSE)

    def _disconnected(self, reason: str) -> None:
        self._state = reason
        self._ticks.hears_nobody()

    async def _open(self) -> Session:
        broker = self._settings.broker
        context = client_context(broker.ca_file) if broker.tls else None
        address = BrokerAddress(broker.host, broker.port, broker.vhost, broker.client_id, self._name, context)
        return await Session.open(address, self._token)

    async def _token(self) -> tuple[str, float]:
        status, body = await self._issuer.grant({"grant_type": "client_credentials"})
        if status != 200:
            raise UnavailableError(
                f"the issuer gives the relay no token: {body.get('error')} {body.get('error_description')}"
            )
        try:
            return str(body["access_token"]), float(body.get("expires_in", 60))
        except (KeyError, TypeError, ValueError) as error:
            raise UnavailableError(f"the issuer's answer holds no token for the relay: {text_of(error)}") from error

    async def _serve_session(self, session: Session) -> None:
        channel = await session.publishing_channel()
        topology = Topology(channel, int(session.version.partition(".")[0] or 3))
        await topology.declare()
        self._waiting = Waiting()
        consumers = Consumers(await session.channel(WIDE), await session.channel(NARROW), self._waiting)
        await run_together(
            session.watch(),
            consumers.keep_widening(),
            self._keep_topology(consumers, topology),
            self._publish(channel, topology),
            self._consume_dead(session),
            self._ingest(topology),
        )

    async def _keep_topology(self, consumers: Consumers, topology: Topology) -> None:
        """Declare the queues of every active host, and consume its events; again whenever hosts change."""
        while True:
            self._hosts.clear()
            for host in await asyncio.to_thread(self._active_hosts):
                await topology.declare_host(host)
                await consumers.start(host)
            self._state = _OK
            self._ticks.hears()
            self._outbox.set()
            await self._hosts.wait()

    def _active_hosts(self) -> list[str]:
        with read_transaction(self._engine) as connection:
            return list(connection.execute(select(hosts.c.id).where(hosts.c.active)).scalars())

    # -- out -------------------------------------------------------------------------------------

    async def _publish(self, channel: PublishingChannel, topology: Topology) -> None:
        while True:
            await _set_or_after(self._outbox, _POLL_SECONDS)
            self._outbox.clear()
            if self._state != _OK:
                continue
            pause = _PACE
            try:
                sent = await self._publisher.publish_all(channel, time.time())
            except LogError:  # what else there was is sent
                sent, pause = 0, _TICK
            ended, self._publisher.ended_jobs = self._publisher.ended_jobs, False
            if ended:
                self._outbox.set()
            if sent or ended or pause == _TICK:
                await self._notify_of_events()
            self._redeclare(topology)
            await asyncio.sleep(pause)

    def _redeclare(self, topology: Topology) -> None:
        """The queues of hosts that have none: an operator may have deleted them."""
        while self._publisher.without_queue:
            topology.forget(self._publisher.without_queue.pop())
            self._hosts.set()

    async def _notify_of_events(self) -> None:
        """In a thread: a database that is slow to answer holds up nothing else."""
        await asyncio.to_thread(self._notifier.publish, "events")

    # -- in --------------------------------------------------------------------------------------

    async def _ingest(self, topology: Topology) -> None:
        while True:
            batch = await self._waiting.batch()
            result = await asyncio.to_thread(self._write, batch)
            for one in batch:
                one.delivery.ack()
            self._waiting.done(batch)
            if result.events:
                await self._notify_of_events()
            if result.messages:
                self._outbox.set()
            for host in result.heartbeats:
                await self._compare(host, result, topology)
            await asyncio.sleep(_PACE)

    def _write(self, batch: Sequence[Received]) -> IngestResult:
        messages = [Message(one.host, one.delivery.body, one.kind) for one in batch]
        return ingest(self._engine, messages, time.time(), self._settings.tracing is not None)

    async def _compare(self, host: str, result: IngestResult, topology: Topology) -> None:
        """Ask for its open jobs where host and centre disagree twice in the same way and nothing is on its way."""
        theirs = result.heartbeats[host].open_jobs_digest
        ours = await asyncio.to_thread(self._host_digest, host)
        before, self._digests[host] = self._digests.get(host), (theirs, ours)
        if theirs == ours or before != (theirs, ours) or result.heartbeats[host].condition != "accepting":
            return
        if await topology.waiting_jobs(host):
            return
        log.warning("open_jobs.differ", host=host)
        self._digests.pop(host)
        await asyncio.to_thread(self._request_open_jobs, host)
        self._outbox.set()

    def _host_digest(self, host: str) -> str:
        with read_transaction(self._engine) as connection:
            return reconcile.host_digest(connection, host)

    def _request_open_jobs(self, host: str) -> None:
        with write_transaction(self._engine) as connection:
            reconcile.request_open_jobs(connection, host, time.time())

    async def _consume_dead(self, session: Session) -> None:
        channel, incoming = await session.channel(_DEAD_PREFETCH), asyncio.Queue[Delivery]()

        async def receive(message: Delivery) -> None:
            incoming.put_nowait(message)

        await channel.consume(routing.DEAD, receive)
        while True:
            message = await incoming.get()
            deaths: Any = message.headers.get("x-death") or [{}]
            source = str(deaths[0].get("queue", message.routing_key))
            if await asyncio.to_thread(self._write_dead, source, message.body):
                await self._notify_of_events()
                self._outbox.set()
            message.ack()

    def _write_dead(self, queue: str, raw: bytes) -> bool:
        now = time.time()
        with serialized_transaction(self._engine) as connection:
            changed = ingest_dead_letters(connection, [(queue, raw)], self._dispatch_keys, now)
            for experiment in changed:
                advance(connection, experiment, now)
        return bool(changed)

    # -- the clock and the sign of life ----------------------------------------------------------

    async def _clock(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            try:
                changed = await asyncio.to_thread(self._ticks.tick)
            except UnavailableError as error:
                log.warning("deadlines.waiting", reason=error.message)
                continue
            if changed:
                await self._notify_of_events()
                self._outbox.set()

    async def _keep_log(self) -> None:
        """What nothing is sent after comes into the transparency log soon, too."""
        while True:
            await asyncio.sleep(_TICK)
            try:
                await asyncio.to_thread(self._sequencer.keep_up)
            except (UnavailableError, LogError) as error:
                log.warning("tlog.waiting", reason=error.message)

    async def _heartbeat(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._write_heartbeat)
            except UnavailableError as error:
                log.warning("database.unavailable", reason=error.message)
            await asyncio.sleep(_TICK)

    def _write_heartbeat(self) -> None:
        now = time.time()
        values = {"seen": now, "broker": self.state}
        with write_transaction(self._engine) as connection:
            connection.execute(delete(relays).where(relays.c.seen < now - 3600))
            if connection.execute(update(relays).where(relays.c.id == self._name).values(**values)).rowcount == 0:
                connection.execute(insert(relays).values(id=self._name, **values))

    def _deregister(self) -> None:
        try:
            with write_transaction(self._engine) as connection:
                connection.execute(delete(relays).where(relays.c.id == self._name))
        except FedprocError as error:
            log.warning("relay.not_signed_off", reason=error.message)


async def _set_or_after(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return  # a notification may have been lost
