"""What hosts report, taken into the database: verified, in order, each thing once.

The highest sequence within an epoch wins; a terminal state absorbs, and what comes after it is kept beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, bindparam, insert, select, update
from sqlalchemy.exc import DataError

from fedproc.central.db.engine import serialized_transaction
from fedproc.central.db.repositories import datasets, events, log_queue
from fedproc.central.db.repositories import hosts as host_store
from fedproc.central.db.repositories.log_queue import LogEntry
from fedproc.central.db.schema import hosts, jobs, records
from fedproc.central.experiments.advance import advance
from fedproc.central.experiments.ending import end_job
from fedproc.central.files import discards
from fedproc.central.relay import dead_letters, epochs, host_keys, record_limits
from fedproc.central.relay.dead_letters import printable
from fedproc.central.relay.epochs import Epochs
from fedproc.central.relay.ingested import IngestResult
from fedproc.central.relay.outputs import missing_output
from fedproc.central.tlog import entries, witness
from fedproc.central.tracing import recording
from fedproc.common.errors import UnreadableError
from fedproc.common.log import get_logger
from fedproc.contract.states import TERMINAL, JobState, may_be_reported
from fedproc.contract.wire import jws, routing
from fedproc.contract.wire.messages import DeadLetterReason, Heartbeat, HostReport, Record, Snapshot, Wire

log = get_logger(__name__)

_HOST = select(hosts).where(hosts.c.id == bindparam("id"))
_REPORTED: tuple[Any, ...] = (
    jobs.c.id,
    jobs.c.experiment,
    jobs.c.host,
    jobs.c.task,
    jobs.c.state,
    jobs.c.ready,
    jobs.c.epoch,
    jobs.c.sequence,
    jobs.c.snapshot,
    jobs.c.late,
    jobs.c.ended,
)
"""What a report is held against: a job's order and parameters are large, and left where they are."""
_WRITTEN = ("state", "code", "reason", "ready", "epoch", "sequence", "snapshot", "ended", "missing_since")
_JOB = select(*_REPORTED).where(jobs.c.id == bindparam("id")).with_for_update()
_REPORT = (
    update(jobs).where(jobs.c.id == bindparam("row")).values({name: bindparam(f"new_{name}") for name in _WRITTEN})
)
_PASSING = frozenset({JobState.dispatched, JobState.accepted, JobState.materialising, JobState.collecting,
                      JobState.awaiting_release})  # fmt: skip
"""states out of which and into which nothing follows for any other job"""
_LATE_KEPT = 20
_NOT_KEPT_LATE = {"outputs", "artefacts", "connections", "command", "times", "waiting_for"}
"""of a snapshot that changes nothing any more: what may be large"""
PROGRESS_KEPT = 1_000
"""snapshots of a job whose wait is shown on the event stream; what comes later shows in the job alone"""
_NOT_TO_BE_HELD = (DataError, OverflowError)


def ingest(engine: Engine, batch: Sequence[Message], now: float, traced: bool = False) -> IngestResult:
    """Ingest messages in one transaction; what the database cannot hold is kept as a dead letter.

    ``traced``: the tracing service is told.

    A number or a text beyond a column's bounds is the fault of one host: the messages of the others are ingested.
    """
    try:
        return _ingest(engine, batch, now, traced)
    except _NOT_TO_BE_HELD as error:
        if len(batch) == 1:
            ((host, raw, _),) = batch
            return _refuse(engine, host, raw, error, now)
    result = IngestResult()
    for message in batch:
        result.add(ingest(engine, [message], now, traced))
    return result


def _ingest(engine: Engine, batch: Sequence[Message], now: float, traced: bool) -> IngestResult:
    with serialized_transaction(engine) as connection:
        ingestion = Ingestion(connection, now, traced)
        for message in batch:
            ingestion.add(message)
        return ingestion.finish()


def _refuse(engine: Engine, host: str, raw: bytes, error: Exception, now: float) -> IngestResult:
    why = str(getattr(error, "orig", error)).partition("\n")[0]
    unreadable = UnreadableError(f"the database cannot hold it: {why}", code="unreadable.content")
    log.error("event.not_storable", host=host, reason=why)
    with serialized_transaction(engine) as connection:
        Ingestion(connection, now).keep_dead_letter(host, raw, unreadable)
    return IngestResult()


class Message(NamedTuple):
    """A raw message, the host by whose queue it came, and the kind that its routing key says."""

    host: str
    raw: bytes
    kind: str = "snapshot"


class Ingestion:
    """Ingests a batch of raw messages within one transaction of the caller's."""

    def __init__(self, connection: Connection, now: float, traced: bool = False) -> None:
        self._connection = connection
        self._traced = traced
        self._now = now
        self._hosts: dict[str, Row[Any] | None] = {}
        self._reported: dict[str, dict[str, Any]] = {}
        self._events: list[dict[str, Any]] = []
        self._logged: list[LogEntry] = []
        self.result = IngestResult()

    def add(self, message: Message) -> None:
        """Ingest one message of a host's events queue; what cannot be read is kept as a dead letter.

        Of a revoked host's, snapshots of its ended jobs are kept beside them, and nothing counts.
        """
        host, raw, kind = message
        try:
            jws.check_size(len(raw), kind)
            (signed, body), row = self._read(host, raw), self._host(host)
            if row is not None and (row.active or isinstance(body, Snapshot)):
                self._apply(row, body, signed)
        except UnreadableError as error:
            log.error("event.unreadable", host=host, code=error.code, reason=error.message)
            self.keep_dead_letter(host, raw, error)

    def finish(self) -> IngestResult:
        """Advance the experiments that changed."""
        self._write()
        for experiment in sorted(self.result.experiments):
            self.result.messages |= advance(self._connection, experiment, self._now)
        return self.result

    def _host(self, host: str) -> Row[Any] | None:
        if host not in self._hosts:
            self._hosts[host] = self._connection.execute(_HOST, {"id": host}).one_or_none()
        return self._hosts[host]

    def _read(self, host: str, raw: bytes) -> tuple[float, Wire]:
        """When the message was signed, by the host's clock but not after now, and what it says."""
        row = self._host(host)
        if row is None:
            raise UnreadableError(f"host {host} is not enrolled", code="unreadable.host")
        envelope, body = jws.unseal(raw, host_keys.trusted(row.public_key), aud=jws.CENTRAL)
        if envelope.iss != host or getattr(body, "host", host) != host:
            raise UnreadableError(f"is signed by {host}, but speaks for another host", code="unreadable.host")
        return min(envelope.iat, self._now), body

    def _write(self) -> None:
        """Write what was gathered, each kind by one statement: what is read or written next comes after it."""
        if self._reported:
            self._connection.execute(_REPORT, list(self._reported.values()))
            self._reported = {}
        if self._events:
            events.add_all(self._connection, self._events)
            self._events = []
        log_queue.add(self._connection, self._logged)
        self._logged.clear()

    def _apply(self, row: Row[Any], body: Wire, signed: float) -> None:
        if not isinstance(body, Snapshot):
            self._write()
        if isinstance(body, (Snapshot, Record, Heartbeat, HostReport)) and not self._is_present(row, body, signed):
            return
        match body:
            case Snapshot():
                self._snapshot(body)
            case Record():
                self._record(body)
            case Heartbeat():
                self._heartbeat(body, signed)
            case HostReport():
                self._report(body)
            case DeadLetterReason():
                self._explanation(body)
            case _:
                raise UnreadableError(f"a {type(body).__name__} does not come from a host", code="unreadable.type")

    # -- epochs ----------------------------------------------------------------------------------

    def _is_present(self, row: Row[Any], body: Snapshot | Record | Heartbeat | HostReport, signed: float) -> bool:
        """Whether the message is of the host's present journal; one of a new journal makes that the present one."""
        known, epoch = Epochs.of(row), epochs.checked(body.epoch)
        if known.is_earlier(epoch, signed):
            log.warning("message.of_earlier_journal", host=row.id, epoch=epoch, kind=type(body).__name__)
            return False
        if known.present != epoch or row.epochs is None:
            columns = known.followed_by(epoch, signed).as_columns()
            self._connection.execute(update(hosts).where(hosts.c.id == row.id).values(**columns))
            self._hosts.pop(row.id)
        if known.present not in (None, epoch):
            self._new_epoch(row.id, epoch)
        return True

    def _new_epoch(self, host: str, epoch: str) -> None:
        """The host's journal is a new one: what it had taken on under the old one is gone."""
        self._write()
        known = jobs.c.epoch.is_not(None) & (jobs.c.epoch != epoch)
        query = select(*_REPORTED).where(jobs.c.host == host, jobs.c.state.not_in(TERMINAL), known)
        lost = self._connection.execute(query).all()
        log.error("host.new_journal", host=host, jobs_lost=len(lost))
        for job in lost:
            self._end_with_journal(job)

    # -- snapshots -------------------------------------------------------------------------------

    def _snapshot(self, snapshot: Snapshot) -> None:
        job = self._job(snapshot.job)
        if job is None or job.host != snapshot.host or job.experiment != snapshot.experiment:
            log.warning("snapshot.foreign", job=snapshot.job, host=snapshot.host)
            return
        if job.epoch not in (None, snapshot.epoch):
            self._end_with_journal(job)
            return
        if job.sequence >= snapshot.sequence:
            return
        if JobState(job.state) in TERMINAL:
            self._keep_late(job, snapshot)
        elif may_be_reported(JobState(job.state), snapshot.state):
            self._apply_snapshot(job, snapshot)

    def _apply_snapshot(self, job: Row[Any], snapshot: Snapshot) -> None:
        state, code, reason = snapshot.state, printable(snapshot.code), printable(snapshot.reason)
        if missing := missing_output(self._connection, snapshot):
            state, code = JobState.error, "system_fault.output_lost"
            reason = f"file {missing}, an output, is not here as its host released it: lost or changed on its way"
        values: dict[str, Any] = {
            "state": state,
            "code": code,
            "reason": reason,
            "ready": snapshot.ready,
            "epoch": snapshot.epoch,
            "sequence": snapshot.sequence,
            "snapshot": snapshot.model_dump(mode="json", exclude_defaults=True),
            "ended": self._now if state in TERMINAL else None,
            "missing_since": None,
        }
        if state is JobState.refused:
            discards.withdraw_outputs(self._connection, job, self._now)
        self._reported[job.id] = {"row": job.id} | {f"new_{name}": value for name, value in values.items()}
        if state in TERMINAL:
            self._logged.append(entries.received(snapshot, state))
        if self._traced:
            recording.trace(self._connection, snapshot, state in TERMINAL, self._now)
        if state != job.state:
            self._events.append(events.state_of_job(job, state, code, reason, self._now))
        waiting = printable(snapshot.waiting_for)
        changed = waiting is not None and waiting != (job.snapshot or {}).get("waiting_for")
        if changed and snapshot.sequence <= PROGRESS_KEPT:
            self._events.append(events.of_job(job, "progress", {"waiting_for": waiting}, self._now))
        if (state != job.state and not {state, job.state} <= _PASSING) or snapshot.ready != job.ready:
            self.result.experiments.add(job.experiment)
        self.result.events = True

    def _end_with_journal(self, job: Row[Any]) -> None:
        if JobState(job.state) in TERMINAL:
            return
        self._write()
        reason = f"host {job.host} has lost its journal, and with it this job; start the experiment again"
        end_job(self._connection, job, JobState.error, "journal_lost", reason, self._now)
        self.result.experiments.add(job.experiment)
        self.result.events = True

    def _keep_late(self, job: Row[Any], snapshot: Snapshot) -> None:
        kept = snapshot.model_dump(mode="json", exclude_defaults=True, exclude=_NOT_KEPT_LATE)
        late = [*(job.late or []), {**kept, "reason": printable(snapshot.reason)}][-_LATE_KEPT:]
        values = {"late": late, "sequence": snapshot.sequence}
        self._connection.execute(update(jobs).where(jobs.c.id == job.id).values(**values))

    def _job(self, job: str) -> Row[Any] | None:
        if job in self._reported:
            self._write()
        return self._connection.execute(_JOB, {"id": job}).one_or_none()

    # -- records, heartbeats, what could not be read ---------------------------------------------

    def _record(self, record: Record) -> None:
        job = self._job(record.job)
        if job is None or job.host != record.host:
            return
        kind: events.Kind = "metrics" if record.stream == "metrics" else "log"
        data = record.metrics or {} if kind == "metrics" else {"stream": record.stream, "lines": list(record.lines)}
        size = len(jws.canonical(data))
        if not record_limits.admits(self._connection, job, record, size, self._now):
            return
        identity = {"job": record.job, "epoch": record.epoch, "stream": record.stream, "sequence": record.sequence}
        same = (records.c[name] == value for name, value in identity.items())
        if self._connection.execute(select(records.c.event).where(*same)).first() is not None:
            return
        event = self._event(kind, data, job)
        self._connection.execute(insert(records).values(**identity, event=event, size=size))

    def _event(self, kind: events.Kind, data: dict[str, Any], job: Row[Any]) -> int:
        self.result.events = True
        return events.add(self._connection, kind, data, experiment=job.experiment, job=job, now=self._now)

    def _heartbeat(self, heartbeat: Heartbeat, signed: float) -> None:
        row = self._host(heartbeat.host)
        assert row is not None
        values = {
            "heard": epochs.last_seen(row.heard, signed, self._now),
            "heartbeat": heartbeat.model_dump(mode="json", exclude={"columns", "log", "datasets"}),
            "condition": heartbeat.condition,
            "condition_text": printable(heartbeat.condition_text),
        }
        values |= witness.column(row.id, row.log, heartbeat.log, signed, self._now)
        datasets.take(self._connection, heartbeat, row.offered)
        self.result.heartbeats[heartbeat.host] = heartbeat
        self._connection.execute(update(hosts).where(hosts.c.id == heartbeat.host).values(**values))
        self._hosts.pop(heartbeat.host, None)

    def _report(self, report: HostReport) -> None:
        host_store.keep_report(self._connection, report)
        self._hosts.pop(report.host, None)  # its first message of a new journal has taken it away already

    def _explanation(self, explanation: DeadLetterReason) -> None:
        if explanation.queue not in (routing.jobs_queue(explanation.host), routing.control_queue(explanation.host)):
            raise UnreadableError(
                f"speaks of {explanation.queue}, which is not this host's queue", code="unreadable.host"
            )
        dead_letters.explain(self._connection, explanation, self._now)

    def keep_dead_letter(self, host: str, raw: bytes, error: UnreadableError) -> None:
        """Keep a message that is not ingested, with the reason."""
        dead_letters.keep(self._connection, host, raw, error, self._now)
