"""From the outbox to the broker: claimed in the database, signed, published with confirms, marked as sent.

A row that was claimed but not marked is published again after its claimer died: a host knows a job or a control
message that it has seen, so twice is as good as once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from sqlalchemy import BindParameter, Connection, Engine, Row, Select, bindparam, or_, select, update

from fedproc.central.db.engine import is_sqlite, serialized_transaction, write_transaction
from fedproc.central.db.repositories import events, shared
from fedproc.central.db.repositories.shared import Part
from fedproc.central.db.schema import experiments, jobs, outbox
from fedproc.central.db.schema import hosts as enrolled
from fedproc.central.experiments import orders
from fedproc.central.experiments.advance import advance
from fedproc.central.experiments.ending import end_job
from fedproc.central.experiments.orders import OrderJson
from fedproc.central.relay.not_taken import put_back
from fedproc.central.relay.window import ByteWindow
from fedproc.central.tlog import entries
from fedproc.central.tlog.sequencer import Sequencer
from fedproc.common.amqp import BrokerError, NotTakenError, PublishingChannel, ReturnedError
from fedproc.common.errors import TooLargeError
from fedproc.common.keys import Signer
from fedproc.common.log import get_logger
from fedproc.common.tlog.errors import LogError
from fedproc.contract.states import TERMINAL, ExperimentState, JobState
from fedproc.contract.wire import limits, routing
from fedproc.contract.wire.jws import CENTRAL, seal_body
from fedproc.contract.wire.messages import CRITICAL

log = get_logger(__name__)

LEASE_SECONDS = 20.0
WITHOUT_QUEUE_SECONDS = 2.0
"""until a host is tried again that had no queue: the relay declares it meanwhile"""
BATCH = 500
UNDER_WAY_BYTES = 32 * limits.MIB
"""of messages that are signed and not confirmed yet"""
_DRAINED = select(enrolled.c.id).where(enrolled.c.drained.is_not(None))
_FREE = or_(outbox.c.claimed_by.is_(None), outbox.c.claimed < bindparam("lapsed"))
_WAITING = (
    select(outbox)
    .where(
        outbox.c.sent.is_(None),
        _FREE,
        outbox.c.host.not_in(bindparam("full", expanding=True)),
        outbox.c.kind.not_in(bindparam("held", expanding=True)),
        or_(outbox.c.kind != "job", outbox.c.host.not_in(_DRAINED)),
    )
    .order_by(outbox.c.id).limit(BATCH)
    .with_for_update(skip_locked=True)
)  # fmt: skip
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_CLAIM = update(outbox).where(outbox.c.id.in_(_IDS)).values(claimed=bindparam("at"), claimed_by=bindparam("relay"))
_QUEUED = (
    select(jobs.c.id, jobs.c.experiment, jobs.c.host, jobs.c.task)
    .where(jobs.c.id.in_(_IDS), jobs.c.state == JobState.queued)
    .order_by(jobs.c.id)
    .with_for_update()
)
_PART: Select[Any] = select(jobs.c.id, jobs.c.experiment, jobs.c.host, jobs.c.task).where(jobs.c.id == bindparam("id"))
_DISPATCH = update(jobs).where(jobs.c.id.in_(_IDS)).values(state=JobState.dispatched, dispatched=bindparam("at"))
_BEGIN = (
    update(experiments)
    .where(experiments.c.id.in_(_IDS), experiments.c.state == ExperimentState.queued)
    .values(state=ExperimentState.running)
    .returning(experiments.c.id)
)
_ORDER = "job"
_GONE = sorted(TERMINAL - {JobState.succeeded})
_PLACED = (
    select(jobs.c.experiment, jobs.c.task, jobs.c.host)
    .where(jobs.c.experiment.in_(_IDS), jobs.c.state.not_in(_GONE))
    .order_by(jobs.c.id)
)
_RELEASE = update(outbox).where(outbox.c.id.in_(_IDS), outbox.c.sent.is_(None)).values(claimed_by=None)
_SENT = update(outbox).where(outbox.c.id == bindparam("row")).values(sent=bindparam("at"), sha256=bindparam("hash"))


@dataclass(frozen=True)
class Claimed:
    """A row of the outbox that this relay publishes."""

    id: int
    host: str
    kind: str
    body: dict[str, Any]
    expires: float | None
    size: int = 0
    """bytes of what it shares with others, as JSON: the rest is small"""
    first: bool = False
    """no relay had claimed it, so that the broker has it from nobody"""


class Publisher:
    """Publishes for one relay. Methods that touch the database block; they run in threads."""

    def __init__(self, engine: Engine, name: str, signer: Signer, hold_seconds: float, sequencer: Sequencer) -> None:
        self._engine = engine
        self._name = name
        self._signer = signer
        self._hold = hold_seconds
        self._sequencer = sequencer
        self._logged: set[int] = set()
        """rows with orders that stand in the transparency log and are not sent yet"""
        self.ended_jobs = False
        """whether jobs were ended since this was last asked: there is news for streams, and perhaps for the outbox"""
        self._not_taken: list[Claimed] = []
        self._full: dict[str, float] = {}
        """hosts whose queue took no more or is missing, and until when nothing is sent to them"""
        self.without_queue: set[str] = set()
        """hosts of which a message came back because they have no queue"""

    def release_claims(self) -> None:
        """On SQLite there is one relay: what an earlier one had claimed and not sent is this one's now."""
        if is_sqlite(self._engine):
            with write_transaction(self._engine) as connection:
                connection.execute(update(outbox).where(outbox.c.sent.is_(None)).values(claimed_by=None))

    async def publish_all(self, channel: PublishingChannel, now: float) -> int:
        """Publish all that waits; how many were sent. Raises what the broker's connection raises.

        Raises :class:`LogError` when all else is sent and the transparency log cannot hold orders: they go later.
        """
        total, window = 0, ByteWindow(UNDER_WAY_BYTES)
        failure = await asyncio.to_thread(self._log_failure)
        while True:
            try:
                claimed = await asyncio.to_thread(self._claim_and_log, now, () if failure is None else (_ORDER,))
            except LogError as error:
                failure = error
                continue
            results = await asyncio.gather(
                *(self._publish_within(window, channel, row, now) for row in claimed), return_exceptions=True
            )
            sent = [(row.id, digest) for row, digest in zip(claimed, results, strict=True) if isinstance(digest, str)]
            await asyncio.to_thread(self._mark_sent, sent, now)
            not_taken, self._not_taken = self._not_taken, []
            await asyncio.to_thread(self._put_back, not_taken, now)
            total += len(sent)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            if len(claimed) < BATCH:
                break
        if failure is not None:
            raise failure
        return total

    async def _publish_within(
        self, window: ByteWindow, channel: PublishingChannel, row: Claimed, now: float
    ) -> str | None:
        async with window.room_for(limits.sealed_size(row.size)):
            return await self._publish(channel, row, now)

    async def _publish(self, channel: PublishingChannel, row: Claimed, now: float) -> str | None:
        """The digest of what was sent; None if its queue is full or missing. Then it is sent later.

        What is larger than its host can read is never sent: it ends its job.
        """
        try:
            critical = tuple(name for name in CRITICAL.get(row.kind, ()) if row.body.get(name))
            raw = seal_body(row.kind, row.body, self._signer, iss=CENTRAL, aud=row.host, exp=row.expires, crit=critical)
        except TooLargeError as error:
            await asyncio.to_thread(self._give_up, row, error, now)
            return None
        exchange = routing.JOBS if row.kind == _ORDER else routing.CONTROL
        try:
            await channel.publish(exchange, row.host, raw, content_type="application/jose")
        except ReturnedError as error:
            log.error("message.returned", host=row.host, kind=row.kind, reason=error.message)
            self.without_queue.add(row.host)
            self._refused(row, now + WITHOUT_QUEUE_SECONDS)
            return None
        except NotTakenError as error:
            log.warning("message.not_taken", host=row.host, kind=row.kind, reason=error.message)
            self._refused(row, now + LEASE_SECONDS)
            return None
        except BrokerError as error:
            log.warning("message.not_taken", host=row.host, reason=error.message)
            raise
        return hashlib.sha256(raw).hexdigest()

    def _refused(self, row: Claimed, until: float) -> None:
        """By its host's queue, which is asked again at ``until``: an order that nobody had before, no host has."""
        self._full[row.host] = until
        if row.kind == _ORDER and row.first:
            self._not_taken.append(row)

    def _give_up(self, row: Claimed, error: TooLargeError, now: float) -> None:
        self._logged.discard(row.id)
        log.error("message.too_large", host=row.host, kind=row.kind, reason=error.message)
        with serialized_transaction(self._engine) as connection:
            connection.execute(_SENT, {"row": row.id, "at": now, "hash": None})
            for job in connection.execute(_PART, {"id": row.body.get("job")}).all():
                end_job(connection, job, JobState.error, "system_fault.too_large", error.message, now)
                advance(connection, job.experiment, now)
        self.ended_jobs = True

    def _put_back(self, rows: Sequence[Claimed], now: float) -> None:
        """No host has these orders: until they go, their jobs end here; whoever was cancelled meanwhile at once."""
        if not rows:
            return
        with serialized_transaction(self._engine) as connection:
            self.ended_jobs |= put_back(connection, {row.id: row.body["job"] for row in rows}, now)

    def _log_failure(self) -> LogError | None:
        try:
            self._sequencer.check()
        except LogError as error:
            return error
        return None

    def _claim_and_log(self, now: float, held: Collection[str]) -> list[Claimed]:
        """What is to be published, but for the kinds that are ``held``.

        Orders stand in the transparency log, and before them what they follow from; each once, however often it is
        published. Raises :class:`LogError`, and then nothing is claimed.
        """
        claimed = self._claim(now, held)
        orders = [row for row in claimed if row.kind == _ORDER]
        new = [row for row in orders if row.id not in self._logged]
        if orders:
            try:
                self._sequencer.flush(
                    entries.dispatched((row.body["experiment"], row.body["job"], row.host) for row in new)
                )
            except LogError:
                self._release([row.id for row in claimed])
                raise
            self._logged.update(row.id for row in new)
        return claimed

    def _release(self, ids: list[int]) -> None:
        with write_transaction(self._engine) as connection:
            connection.execute(_RELEASE, {"ids": ids})

    def _claim(self, now: float, held: Collection[str] = ()) -> list[Claimed]:
        with serialized_transaction(self._engine) as connection:
            self._full = {host: until for host, until in self._full.items() if until > now}
            free = {"lapsed": now - LEASE_SECONDS, "full": sorted(self._full), "held": sorted(held)}
            rows = connection.execute(_WAITING, free).all()
            if rows:
                ids = [row.id for row in rows]
                connection.execute(_CLAIM, {"ids": ids, "at": now, "relay": self._name})
            _dispatched(connection, [row.job for row in rows if row.kind == _ORDER], now)
            claimed = _whole(connection, rows)
            hosts = _hosts(connection, {one.body["experiment"] for one in claimed if one.kind == _ORDER})
            return [self._stamped(one, hosts, now) if one.kind == _ORDER else one for one in claimed]

    def _stamped(self, one: Claimed, hosts: Mapping[str, dict[str, list[str]]], now: float) -> Claimed:
        # None are left where all jobs have ended: whoever gets the order again has it already
        placed = hosts.get(one.body["experiment"], {})
        order = orders.stamp(cast(OrderJson, one.body), placed, now, self._hold)
        return replace(one, body=dict(order), expires=orders.expires(order))

    def _mark_sent(self, sent: Sequence[tuple[int, str]], now: float) -> None:
        if not sent:
            return
        with write_transaction(self._engine) as connection:
            connection.execute(_SENT, [{"row": row, "at": now, "hash": digest} for row, digest in sent])
        self._logged.difference_update(row for row, _ in sent)


def _whole(connection: Connection, rows: Sequence[Row[Any]]) -> list[Claimed]:
    """The messages with what they have in common; rows that an earlier release wrote have all of it themselves."""
    parts = shared.read(connection, {part for row in rows for part in row.shared or ()})

    def of(row: Row[Any]) -> Claimed:
        own: list[Part] = [parts[part] for part in row.shared or ()]
        body = orders.whole(row.message, own)
        size = sum(part.size for part in own)
        return Claimed(row.id, row.host, row.kind, body, None, size, first=row.claimed is None)

    return [of(row) for row in rows]


def _hosts(connection: Connection, ids: set[str]) -> dict[str, dict[str, list[str]]]:
    """The hosts of each experiment by task, but for those that it goes on without.

    Each of its orders names them all, so they are put in here, not kept.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for row in connection.execute(_PLACED, {"ids": sorted(ids)}) if ids else ():
        found.setdefault(row.experiment, {}).setdefault(row.task, []).append(row.host)
    return found


def _dispatched(connection: Connection, ids: list[str], now: float) -> None:
    if not ids:
        return
    rows = connection.execute(_QUEUED, {"ids": ids}).all()
    if not rows:
        return
    found = [row.id for row in rows]
    connection.execute(_DISPATCH, {"ids": found, "at": now})
    events.add_all(connection, [events.state_of_job(row, JobState.dispatched, None, None, now) for row in rows])
    _running(connection, {row.experiment for row in rows}, now)


def _running(connection: Connection, ids: set[str], now: float) -> None:
    """An experiment is running from its first dispatch on."""
    for row in connection.execute(_BEGIN, {"ids": sorted(ids)}).all():
        data = {"state": ExperimentState.running.value, "code": None, "reason": None}
        events.add(connection, "state", data, experiment=row.id, now=now)
