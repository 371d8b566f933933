"""Carrying out what the coordinator decides, in the transaction in which the facts changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, or_, select, update

from fedproc.central.db.repositories import events, tools
from fedproc.central.db.schema import experiments, files, hosts, jobs, outbox
from fedproc.central.experiments.coordinator import (
    Decision,
    Facts,
    JobFacts,
    decide,
    partners,
    state_of,
    waiting_gang_hosts,
)
from fedproc.contract.ids import dns_label
from fedproc.contract.states import TERMINAL, ExperimentState, JobState
from fedproc.contract.tool.task import Task
from fedproc.contract.wire.messages import Cancel, FileRef, Finish, Peer, Start, Wire
from fedproc.contract.wire.routing import server_name

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
    experiments.c.state.label("whole"),
)
"""What is decided by: the large columns of a job are left where they are."""
_WITH_EXPERIMENT = select(*_FACTS).join(experiments, experiments.c.id == jobs.c.experiment)
_JOBS = _WITH_EXPERIMENT.where(jobs.c.experiment == bindparam("id")).order_by(jobs.c.id)
_OUT = insert(outbox)
_TELL = update(jobs).where(jobs.c.id == bindparam("row")).values(told=bindparam("kinds"))
_ORDERS = select(jobs.c.id, jobs.c.order).where(
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
HOLD_SECONDS = 600.0
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
    return advancing.told or advancing.freed


def advance_waiting(connection: Connection, now: float) -> None:
    """Let gangs that wait for hosts go, first come first served: an earlier one keeps its hosts from later ones."""
    taken = _acquiring(connection, but="")
    for experiment_id, wanted in list(_waiting(connection)):
        if not wanted & taken:
            _Advancing(connection, experiment_id, now, busy=taken).run()
        taken |= wanted


def _waiting(connection: Connection, before: str | None = None) -> Iterator[tuple[str, frozenset[str]]]:
    """Experiments with a gang that lacks nothing but its hosts, the earliest first, each with those hosts."""
    queued = select(jobs.c.experiment).where(jobs.c.gang, jobs.c.state == JobState.queued)
    if before is not None:
        queued = queued.where(jobs.c.experiment < before)
    whole = queued.group_by(jobs.c.experiment).having(func.max(jobs.c.uploads_missing) == 0)
    ids = whole.order_by(jobs.c.experiment).limit(_MOST_WAITING)
    query = _WITH_EXPERIMENT.where(jobs.c.experiment.in_(ids)).order_by(jobs.c.experiment, jobs.c.id)
    rows = connection.execute(query).all()
    for experiment, group in groupby(rows, key=lambda row: str(row.experiment)):
        found = list(group)
        tool = tools.of_digest(connection, found[0].digest)
        facts = Facts(tool, tuple(_fact(row, row.told) for row in found), bool(found[0].cancel_requested))
        if wanted := waiting_gang_hosts(facts):
            yield experiment, wanted


def _acquiring(connection: Connection, but: str) -> frozenset[str]:
    """Hosts on which a gang acquires just now, those of the experiment ``but`` left out."""
    query = select(jobs.c.host, jobs.c.told).where(
        jobs.c.gang, jobs.c.state.in_(_ACQUIRING), jobs.c.experiment != but
    )  # fmt: skip
    return frozenset(
        row.host
        for row in connection.execute(query)
        if "job" in row.told and "start" not in row.told and "cancel" not in row.told
    )


def _fact(row: Row[Any], told: Iterable[str]) -> JobFacts:
    return JobFacts(
        id=row.id,
        host=row.host,
        task=row.task,
        state=JobState(row.state),
        ready=row.ready,
        uploads_missing=row.uploads_missing,
        told=frozenset(told),
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
        self.told = False
        self._read()
        self._state = ExperimentState(self._rows[0].whole)
        self._tool = tools.of_digest(connection, self._rows[0].digest)

    def _read(self) -> None:
        self._rows: Sequence[Row[Any]] = self._connection.execute(_JOBS, {"id": self._id}).all()
        self._told: dict[str, list[str]] = {row.id: list(row.told) for row in self._rows}

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
        return any(row.gang and (row.state in TERMINAL or "start" in self._told[row.id]) for row in self._rows)

    def _facts(self, busy: frozenset[str]) -> Facts:
        found = tuple(_fact(row, self._told[row.id]) for row in self._rows)
        return Facts(self._tool, found, bool(self._rows[0].cancel_requested), busy)

    def _busy(self) -> frozenset[str]:
        """Hosts on which another gang acquires just now, or for which an earlier one waits."""
        waits = any(r.gang and r.state == JobState.queued and "job" not in self._told[r.id] for r in self._rows)
        if not waits or self._given_busy is not None:
            return self._given_busy or frozenset()
        earlier = (wanted for _, wanted in _waiting(self._connection, before=self._id))
        return _acquiring(self._connection, but=self._id).union(*earlier)

    # -- carrying out ----------------------------------------------------------------------------

    def _carry_out(self, decisions: Sequence[Decision]) -> bool:
        """Write the messages; says whether a job was ended here instead."""
        rows = {row.id: row for row in self._rows}
        orders = self._orders([decision.job for decision in decisions if decision.kind == "job"])
        ended = [self._apply(rows[decision.job], decision, orders) for decision in decisions]
        if self._messages:
            self._connection.execute(_OUT, self._messages)
            told = {message["job"]: self._told[message["job"]] for message in self._messages}
            self._connection.execute(_TELL, [{"row": job, "kinds": kinds} for job, kinds in told.items()])
            self._messages = []
            self.told = True
        return any(ended)

    def _orders(self, ids: list[str]) -> Mapping[str, dict[str, Any]]:
        if not ids:
            return {}
        rows = self._connection.execute(_ORDERS, {"experiment": self._id, "ids": ids})
        return {row.id: row.order for row in rows}

    def _apply(self, row: Row[Any], decision: Decision, orders: Mapping[str, dict[str, Any]]) -> bool:
        """Put the message; says whether the job was ended here instead, because it was never claimed."""
        match decision.kind:
            case "job":
                self._put(row, "job", self._order(row, orders[row.id]))
            case "start":
                self._put(row, "start", self._start(row))
            case "finish":
                self._put(row, "finish", Finish(job=row.id))
            case "cancel":
                if self._end_unclaimed(row, decision):
                    return True
                self._put(row, "cancel", Cancel(job=row.id, code=decision.code, reason=decision.reason))
        return False

    def _put(self, row: Row[Any], kind: str, message: Wire | dict[str, Any]) -> None:
        body = message if isinstance(message, dict) else message.model_dump(mode="json", exclude_defaults=True)
        values = {"job": row.id, "host": row.host, "kind": kind, "message": body, "created": self._now}
        self._messages.append(values)
        self._told[row.id].append(kind)

    def _order(self, row: Row[Any], order: dict[str, Any]) -> dict[str, Any]:
        task = self._tool.task(row.task)
        inputs = [ref.model_dump(mode="json", exclude_defaults=True) for ref in self._inputs(row, task)]
        order = {**order, "inputs": inputs, "recipients": self._recipients(row, task)}
        if row.gang:
            until = datetime.fromtimestamp(self._now, UTC) + timedelta(seconds=HOLD_SECONDS)
            order["deadlines"] = {**order["deadlines"], "hold_until": until.isoformat()}
        return order

    def _end_unclaimed(self, row: Row[Any], decision: Decision) -> bool:
        """End a queued job whose message no relay has claimed; both happen or neither."""
        if row.state != JobState.queued:
            return False
        claimed = select(outbox.c.id).where(outbox.c.job == row.id, outbox.c.claimed.is_not(None))
        if self._connection.execute(claimed).first() is not None:
            return False
        self._connection.execute(delete(outbox).where(outbox.c.job == row.id, outbox.c.claimed.is_(None)))
        left = update(jobs).where(jobs.c.id == row.id, jobs.c.state == JobState.queued)
        values = {"state": JobState.cancelled, "code": decision.code, "reason": decision.reason, "ended": self._now}
        if self._connection.execute(left.values(**values)).rowcount == 0:
            return False
        events.add_state(self._connection, row, JobState.cancelled, decision.code, decision.reason, self._now)
        return True

    def _inputs(self, row: Row[Any], task: Task) -> list[FileRef]:
        refs: list[FileRef] = []
        for entry in task.inputs:
            if entry.kind == "upload":
                wanted = (files.c.job == row.id) & (files.c.input == entry.name)
            elif entry.kind == "output":
                given = [
                    other.id for other in self._rows if other.task == entry.task and other.state == JobState.succeeded
                ]
                wanted = files.c.job.in_(given) & or_(files.c.recipient.is_(None), files.c.recipient == row.host)
                wanted = wanted & (files.c.output == entry.output if entry.output else files.c.output.is_not(None))
            else:
                continue
            query = select(files).where(wanted, files.c.state == "complete").order_by(files.c.id)
            refs += [_ref(file, entry.name) for file in self._connection.execute(query)]
        return refs

    def _recipients(self, row: Row[Any], task: Task) -> dict[str, Any]:
        wanted = {name for output in task.outputs for name in output.artefact_for}
        if not wanted:
            return {}
        ids = {other.host for other in self._rows if other.task in wanted}
        query = select(hosts.c.id, hosts.c.public_key).where(hosts.c.id.in_(ids))
        return {found.id: found.public_key for found in self._connection.execute(query)}

    def _start(self, row: Row[Any]) -> Start:
        task = self._tool.task(row.task)
        peers = [self._peer_to_dial(other) for other in self._rows if _connects(task, other.task)]
        peers += [
            Peer(task=other.task, job=other.id, host=other.host, key=self._keys.get(other.host))
            for other in self._rows
            if other.state not in TERMINAL and _connects(self._tool.task(other.task), row.task)
        ]
        return Start(job=row.id, peers=tuple(peers), artefacts=tuple(self._artefacts(row, task)))

    def _peer_to_dial(self, other: Row[Any]) -> Peer:
        where = self._connection.execute(
            select(hosts.c.address, hosts.c.domain).where(hosts.c.id == other.host)
        ).one()  # fmt: skip
        ports = self._tool.task(other.task).ports
        names = {port.name: server_name(port.port, other.id, dns_label(other.host), where.domain) for port in ports}
        return Peer(
            task=other.task,
            job=other.id,
            host=other.host,
            address=where.address,
            server_names=names,
            key=self._keys.get(other.host),
        )

    @cached_property
    def _keys(self) -> dict[str, str | None]:
        """Thumbprints of the keys that the experiment's hosts were enrolled with."""
        query = select(hosts.c.id, hosts.c.public_key).where(hosts.c.id.in_({row.host for row in self._rows}))
        return {found.id: found.public_key.get("kid") for found in self._connection.execute(query)}

    def _artefacts(self, row: Row[Any], task: Task) -> list[FileRef]:
        """What the tasks of its gang made for it: named by their last snapshots, encrypted to this host."""
        given = partners(task) | {other.name for other in self._tool.tasks if task.name in partners(other)}
        ids = [other.id for other in self._rows if other.task in given]
        query = select(files).where(files.c.job.in_(ids), files.c.recipient == row.host, files.c.state == "complete")
        return [_ref(file, None) for file in self._connection.execute(query.order_by(files.c.id))]

    def _write_state(self, state: ExperimentState) -> None:
        if state == self._state:
            return
        ended = None if state in _OPEN else self._now
        self._connection.execute(_WHOLE, {"row": self._id, "new_state": state, "at": ended})
        data = {"state": state.value, "code": None, "reason": None}
        events.add(self._connection, "state", data, experiment=self._id, now=self._now)


def _connects(task: Task, other: str) -> bool:
    return any(connection.task == other for connection in task.connections)


def _ref(file: Row[Any], entry: str | None) -> FileRef:
    place = file.path if file.job is not None and file.input is not None else f"{file.host}/{file.path}"
    if entry is None:
        place = f"{file.task}/{file.output}/{file.path}"
    return FileRef(
        file=file.id,
        sha256=file.sha256,
        size=file.size,
        media_type=file.media_type,
        input=entry,
        host=file.host,
        task=file.task,
        output=file.output,
        path=place,
        encrypted_for=file.recipient,
    )
