"""Carrying out what the coordinator decides, in the transaction in which the facts changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, insert, or_, select, update

from fedproc.central.db.repositories import delegations, events, hosts, shared, tools
from fedproc.central.db.repositories.shared import Part
from fedproc.central.db.schema import experiments, jobs, outbox
from fedproc.central.experiments import orders
from fedproc.central.experiments.coordinator import (
    AHEAD,
    HELD,
    STARTED,
    Decision,
    Facts,
    JobFacts,
    decide,
    state_of,
    waiting_gang_hosts,
)
from fedproc.central.experiments.ending import IS_NOT_TAKEN
from fedproc.central.experiments.orders import OrderJson
from fedproc.central.experiments.references import References
from fedproc.contract.states import TERMINAL, ExperimentState, JobState
from fedproc.contract.tool.tool import Tool
from fedproc.contract.wire.messages import Cancel, Finish, Proceed, Start, Wire

_FACTS: tuple[Any, ...] = (
    jobs.c.id,
    jobs.c.experiment,
    jobs.c.host,
    jobs.c.task,
    jobs.c.state,
    jobs.c.gang,
    jobs.c.ready,
    jobs.c.uploads_missing,
    jobs.c.told,
    jobs.c.reason,
    experiments.c.digest,
    experiments.c.cancel_requested,
    experiments.c.prepare,
    experiments.c.ended_because,
    experiments.c.state.label("whole"),
)
"""What is decided by: the large columns of a job are left where they are."""
_WITH_EXPERIMENT = select(*_FACTS).join(experiments, experiments.c.id == jobs.c.experiment)
_JOBS = _WITH_EXPERIMENT.where(jobs.c.experiment == bindparam("id")).order_by(jobs.c.id)
_OUT = insert(outbox)
_NOTE_SENT = update(jobs).where(jobs.c.id == bindparam("row")).values(told=bindparam("kinds"))
_DRAFTS = select(jobs.c.id, jobs.c.order, jobs.c.shared).where(
    jobs.c.experiment == bindparam("experiment"), jobs.c.id.in_(bindparam("ids", expanding=True))
)
_WHOLE = update(experiments).where(experiments.c.id == bindparam("row"))
_WHOLE = _WHOLE.values(state=bindparam("new_state"), ended=bindparam("at"))
_OPEN = (ExperimentState.queued, ExperimentState.running)
_ACQUIRING = (
    JobState.queued,
    JobState.dispatched,
    JobState.accepted,
    JobState.materialising,
    JobState.prepared,
)
_MOST_WAITING = 1000


def advance(connection: Connection, experiment_id: str, now: float) -> bool:
    """Tell the experiment's hosts what follows from the present facts, and write the experiment's state.

    Says whether there may be messages for the relay now. Called in the transaction that changed the facts. When a
    gang has got its hosts, or has gone, gangs of other experiments that waited for them are advanced too.
    """
    advancing = _Advancing(connection, experiment_id, now)
    advancing.run()
    if advancing.freed:
        advance_waiting(connection, now)
    return advancing.wrote_messages or advancing.freed


def advance_waiting(connection: Connection, now: float) -> None:
    """Let gangs that wait for hosts go, first come first served: an earlier one keeps its hosts from later ones."""
    taken, drained = _acquiring(connection, but=""), hosts.drained_ids(connection)
    for experiment_id, wanted in list(_waiting(connection)):
        if wanted & drained:  # it may wait for days, and must keep no host from others
            continue
        if not wanted & taken:
            _Advancing(connection, experiment_id, now, busy=taken).run()
        taken |= wanted


def _waiting(connection: Connection, before: str | None = None) -> Iterator[tuple[str, frozenset[str]]]:
    """Experiments with a gang that lacks nothing but its hosts, the earliest first, each with those hosts."""
    laid_out = and_(jobs.c.state == JobState.materialising, jobs.c.ready, experiments.c.prepare == STARTED)
    queued = select(jobs.c.experiment).join(experiments, experiments.c.id == jobs.c.experiment)
    queued = queued.where(jobs.c.gang, or_(jobs.c.state == JobState.queued, laid_out))
    if before is not None:
        queued = queued.where(jobs.c.experiment < before)
    whole = queued.group_by(jobs.c.experiment).having(func.max(jobs.c.uploads_missing) == 0)
    ids = whole.order_by(jobs.c.experiment).limit(_MOST_WAITING)
    query = _WITH_EXPERIMENT.where(jobs.c.experiment.in_(ids)).order_by(jobs.c.experiment, jobs.c.id)
    rows = connection.execute(query).all()
    for experiment, group in groupby(rows, key=lambda row: str(row.experiment)):
        found = list(group)
        facts = _facts_of(tools.of_digest(connection, found[0].digest), found)
        if wanted := waiting_gang_hosts(facts):
            yield experiment, wanted


def _acquiring(connection: Connection, but: str) -> frozenset[str]:
    """Hosts on which a gang acquires just now, those of the experiment ``but`` left out."""
    query = select(jobs.c.host, jobs.c.told).where(
        jobs.c.gang, jobs.c.state.in_(_ACQUIRING), jobs.c.experiment != but
    )  # fmt: skip
    return frozenset(row.host for row in connection.execute(query) if _holds_share(row.told))


def _holds_share(sent: Sequence[str]) -> bool:
    """Whether a gang's job has a share of its host, or waits for one, before it starts."""
    goes = "job" in sent and (AHEAD not in sent or "proceed" in sent)
    return goes and "start" not in sent and "cancel" not in sent


def _facts_of(
    tool: Tool, rows: Sequence[Row[Any]], sent: Mapping[str, Iterable[str]] | None = None,
    busy: frozenset[str] = frozenset(),
) -> Facts:  # fmt: skip
    found = tuple(_fact(row, row.told if sent is None else sent[row.id]) for row in rows)
    whole = rows[0]
    return Facts(
        tool, found, bool(whole.cancel_requested), busy, held=whole.prepare == HELD, because=whole.ended_because
    )


def _fact(row: Row[Any], messages_sent: Iterable[str]) -> JobFacts:
    return JobFacts(
        id=row.id,
        host=row.host,
        task=row.task,
        state=JobState(row.state),
        ready=row.ready,
        uploads_missing=row.uploads_missing,
        messages_sent=frozenset(messages_sent),
        reason=row.reason or "",
    )


class _Advancing:
    """One experiment being advanced. ``busy`` are the hosts that its gangs may not have, looked up unless given."""

    def __init__(
        self, connection: Connection, experiment_id: str, now: float, busy: frozenset[str] | None = None
    ) -> None:
        self._connection = connection
        self._now = now
        self._given_busy = busy
        self._id = experiment_id
        self._messages: list[dict[str, Any]] = []
        self._parts: list[Part] = []
        self._drafts: Mapping[str, Row[Any]] = {}
        self.wrote_messages = False
        self._read()
        self._state = ExperimentState(self._rows[0].whole)

    def _read(self) -> None:
        self._rows: Sequence[Row[Any]] = self._connection.execute(_JOBS, {"id": self._id}).all()
        self._tool = tools.of_digest(self._connection, self._rows[0].digest)
        self._references = References(self._connection, self._tool, self._rows)
        self._sent: dict[str, list[str]] = {row.id: list(row.told) for row in self._rows}

    def run(self) -> None:
        """Decide and carry out until nothing more follows (a job that is ended here changes the facts)."""
        if self._state not in _OPEN:
            return
        facts = self._facts(self._busy())
        while decisions := decide(facts):
            if not self._carry_out(decisions):
                break
            self._read()
            facts = self._facts(self._busy())
        self._write_state(state_of(facts))

    @property
    def freed(self) -> bool:
        """Whether a gang of this experiment acquires no more: others may wait for that."""
        return any(row.gang and (row.state in TERMINAL or "start" in self._sent[row.id]) for row in self._rows)

    def _facts(self, busy: frozenset[str]) -> Facts:
        return _facts_of(self._tool, self._rows, self._sent, busy)

    def _busy(self) -> frozenset[str]:
        """Hosts on which another gang acquires just now, or for which an earlier one waits."""
        waits = any(row.gang and self._waits_for_host(row) for row in self._rows)
        if not waits or self._given_busy is not None:
            return self._given_busy or frozenset()
        drained = hosts.drained_ids(self._connection)
        waiting = (wanted for _, wanted in _waiting(self._connection, before=self._id))
        earlier = (wanted for wanted in waiting if not wanted & drained)
        return _acquiring(self._connection, but=self._id).union(drained, *earlier)

    def _waits_for_host(self, row: Row[Any]) -> bool:
        sent = self._sent[row.id]
        return "job" not in sent if row.state == JobState.queued else AHEAD in sent and "proceed" not in sent

    # -- carrying out ----------------------------------------------------------------------------

    def _carry_out(self, decisions: Sequence[Decision]) -> bool:
        """Write the messages; says whether a job was ended here instead."""
        rows = {row.id: row for row in self._rows}
        self._read_drafts([decision.job for decision in decisions if decision.kind == "job"])
        ended = [self._apply(rows[decision.job], decision) for decision in decisions]
        if self._messages:
            shared.keep(self._connection, self._id, self._parts)
            self._connection.execute(_OUT, self._messages)
            jobs_of = {message["job"] for message in self._messages}
            kinds = [{"row": job, "kinds": self._sent[job]} for job in sorted(jobs_of)]
            self._connection.execute(_NOTE_SENT, kinds)
            self._messages, self._parts = [], []
            self.wrote_messages = True
        return any(ended)

    def _read_drafts(self, ids: list[str]) -> None:
        if ids:
            rows: Sequence[Any] = self._connection.execute(_DRAFTS, {"experiment": self._id, "ids": ids}).all()
            self._drafts = {row.id: row for row in rows}

    def _apply(self, row: Row[Any], decision: Decision) -> bool:
        """Put the message; says whether the job was ended here instead, because it was never claimed."""
        match decision.kind:
            case "job":
                self._put(row, "job", self._order(row), self._drafts[row.id].shared or ())
            case "proceed":
                self._put(row, "proceed", Proceed(job=row.id))
            case "start":
                self._put(row, "start", self._start(row))
            case "finish":
                self._put(row, "finish", Finish(job=row.id))
            case "cancel":
                if self._end_unclaimed(row, decision):
                    return True
                self._put(row, "cancel", Cancel(job=row.id, code=decision.code, reason=decision.reason))
        return False

    def _order(self, row: Row[Any]) -> OrderJson:
        found, order = self._references, self._drafts[row.id].order
        if row.prepare == HELD:
            order = {**order, "ahead": True}
        elif AHEAD in self._sent[row.id]:  # it was started before it could go
            self._sent[row.id].remove(AHEAD)
        return orders.complete(order, found.inputs(row), found.recipients(row))

    def _start(self, row: Row[Any]) -> Start:
        found = self._references
        return Start(job=row.id, peers=tuple(found.peers(row)), artefacts=tuple(found.artefacts(row)))

    def _put(self, row: Row[Any], kind: str, message: Wire | OrderJson, of_draft: Sequence[str] = ()) -> None:
        body = message.model_dump(mode="json", exclude_defaults=True) if isinstance(message, Wire) else message
        own, parts = orders.split(self._id, body)
        ids = [*of_draft, *(one.id for one in parts)]
        values = {"job": row.id, "host": row.host, "kind": kind, "message": own, "shared": ids or None}
        self._messages.append({**values, "created": self._now})
        self._parts += parts
        self._sent[row.id].append(kind)

    def _end_unclaimed(self, row: Row[Any], decision: Decision) -> bool:
        """End a job whose order no relay has claimed, or the broker did not take; both happen or neither."""
        claimed = select(outbox.c.id).where(outbox.c.job == row.id, outbox.c.claimed.is_not(None))
        free = (jobs.c.state == JobState.queued) & ~claimed.exists()
        unsent = select(jobs.c.id).where(jobs.c.id == row.id, free | IS_NOT_TAKEN)
        if self._connection.execute(unsent).first() is None:
            return False
        self._connection.execute(delete(outbox).where(outbox.c.job == row.id, outbox.c.claimed.is_(None)))
        left = update(jobs).where(jobs.c.id == row.id, jobs.c.state == row.state)
        values = {"state": JobState.cancelled, "code": decision.code, "reason": decision.reason, "ended": self._now}
        if self._connection.execute(left.values(**values)).rowcount == 0:
            return False
        events.add_state(self._connection, row, JobState.cancelled, decision.code, decision.reason, self._now)
        return True

    def _without(self, state: ExperimentState) -> str | None:
        lost = {row.host for row in self._rows if row.state != JobState.succeeded}
        return f"without {', '.join(sorted(lost))}" if state is ExperimentState.succeeded and lost else None

    def _write_state(self, state: ExperimentState) -> None:
        if state == self._state:
            return
        ended = None if state in _OPEN else self._now
        self._connection.execute(_WHOLE, {"row": self._id, "new_state": state, "at": ended})
        if ended is not None:
            delegations.forget(self._connection, self._id)
        data = {"state": state.value, "code": None, "reason": self._without(state)}
        events.add(self._connection, "state", data, experiment=self._id, now=self._now)
