"""Experiments and their jobs, as the API writes and reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, insert, or_, select, update

from fedproc.central.db.schema import events, experiments, hosts, jobs
from fedproc.common.errors import NotFoundError
from fedproc.contract.states import TERMINAL
from fedproc.contract.wire.release import PARTLY_CODE

_ONE = select(experiments).where(experiments.c.id == bindparam("id"))
_LOCKED = _ONE.with_for_update()
_STATE = select(experiments.c.state, experiments.c.owner).where(experiments.c.id == bindparam("id"))
_BY_KEY = select(experiments).where(
    experiments.c.owner == bindparam("owner"), experiments.c.idempotency_key == bindparam("key")
)
_SHOWN: tuple[Any, ...] = (
    jobs.c.id,
    jobs.c.experiment,
    jobs.c.host,
    jobs.c.task,
    jobs.c.state,
    jobs.c.code,
    jobs.c.reason,
    jobs.c.datasets,
    jobs.c.uploads_missing,
    jobs.c.ready,
    jobs.c.told,
    jobs.c.snapshot,
    jobs.c.dispatched,
    jobs.c.ended,
)
_JOBS = select(*_SHOWN, hosts.c.heard, hosts.c.drained).join(hosts, hosts.c.id == jobs.c.host)
_JOB = (
    _JOBS.add_columns(experiments.c.owner, experiments.c.created, experiments.c.prepare)
    .join(experiments, experiments.c.id == jobs.c.experiment)
    .where(jobs.c.id == bindparam("id"))
)
_JOBS_OF = _JOBS.where(jobs.c.experiment == bindparam("id")).order_by(jobs.c.id)
_ORDER = select(jobs.c.order).where(jobs.c.id == bindparam("id"))
_LOCKED_JOB = select(jobs).where(jobs.c.id == bindparam("id")).with_for_update()
_EVENTS = (
    select(events)
    .where(events.c.experiment == bindparam("id"), events.c.id > bindparam("after"))
    .order_by(events.c.id)
    .limit(bindparam("most"))
)
_NOT_THERE = ("queued", *sorted(TERMINAL))
_OPEN = select(func.count()).where(
    experiments.c.owner == bindparam("owner"), experiments.c.state.in_(("queued", "running"))
)
_ID = experiments.c.id
SORTED_BY: Mapping[str, str] = {"created": "id", "ended": "ended", "tool": "tool", "state": "state", "label": "label"}
_ADD, _ADD_JOBS = insert(experiments), insert(jobs)


def add(connection: Connection, experiment: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write an experiment with its jobs."""
    connection.execute(_ADD, experiment)
    connection.execute(_ADD_JOBS, rows)


def find(connection: Connection, experiment: str, owner: str | None) -> Row[Any]:
    """One experiment, of that owner unless None. Raises :class:`NotFoundError`, the same for one of somebody else."""
    row = connection.execute(_ONE, {"id": experiment}).one_or_none()
    return _owned(row, owner, "experiment", experiment)


def count_open(connection: Connection, owner: str) -> int:
    """How many of the owner's have not ended."""
    return int(connection.execute(_OPEN, {"owner": owner}).scalar_one())


def has_ended(connection: Connection, experiment: str) -> bool:
    """Whether nothing happens in it any more; nothing does in one that was deleted."""
    row = connection.execute(_STATE, {"id": experiment}).one_or_none()
    return row is None or row.state in TERMINAL


def by_key(connection: Connection, owner: str, key: str) -> Row[Any] | None:
    """The experiment that ``owner`` made under this Idempotency-Key."""
    return connection.execute(_BY_KEY, {"owner": owner, "key": key}).one_or_none()


@dataclass(frozen=True)
class Wanted:
    """Which experiments are listed; ``text`` is in the label or the tool's id, or is the id."""

    owner: str | None = None
    states: Sequence[str] = ()
    label: str | None = None
    tool: str | None = None
    text: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What their rows have in common."""
        equal = ((experiments.c.owner, self.owner), (experiments.c.label, self.label), (experiments.c.tool, self.tool))
        found: list[ColumnElement[bool]] = [column == value for column, value in equal if value is not None]
        if self.states:
            found.append(experiments.c.state.in_(self.states))
        if self.text:
            fits: list[ColumnElement[bool]] = [experiments.c.id == self.text]
            fits += [each.icontains(self.text, autoescape=True) for each in (experiments.c.label, experiments.c.tool)]
            found.append(or_(*fits))
        return found


def page(connection: Connection, wanted: Wanted, cursor: str | None, most: int) -> Sequence[Row[Any]]:
    """Newest first, from before ``cursor`` on."""
    query = select(experiments).where(*wanted.conditions()).order_by(_ID.desc()).limit(most)
    return connection.execute(query if cursor is None else query.where(cursor > _ID)).all()


def sorted_page(connection: Connection, wanted: Wanted, sort: str, offset: int, most: int) -> Sequence[Row[Any]]:
    """In the order of a column, downwards if ``sort`` begins with ``-``; equal ones newest first."""
    column = experiments.c[SORTED_BY[sort.removeprefix("-")]]
    order = (column.desc() if sort.startswith("-") else column).nulls_last()
    query = select(experiments).where(*wanted.conditions()).order_by(order, _ID.desc())
    return connection.execute(query.offset(offset).limit(most)).all()


def count(connection: Connection, wanted: Wanted) -> int:
    """How many there are."""
    query = select(func.count()).select_from(experiments).where(*wanted.conditions())
    return int(connection.execute(query).scalar_one())


def labels(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """By their ids; those without one are left out."""
    rows = connection.execute(select(experiments.c.id, experiments.c.label).where(experiments.c.id.in_(ids)))
    return {row.id: row.label for row in rows if row.label}


def succeeded_without(connection: Connection, ids: Sequence[str]) -> dict[str, set[str]]:
    """Of experiments that have succeeded, the hosts that they succeeded without."""
    found: dict[str, set[str]] = {}
    query = select(jobs.c.experiment, jobs.c.host).where(jobs.c.experiment.in_(ids), jobs.c.state != "succeeded")
    for row in connection.execute(query) if ids else ():
        found.setdefault(row.experiment, set()).add(row.host)
    return found


def partly_released(connection: Connection, ids: Sequence[str]) -> dict[str, set[str]]:
    """Of these experiments, the hosts whose sites released a part of the outputs, and keep the rest."""
    found: dict[str, set[str]] = {}
    query = select(jobs.c.experiment, jobs.c.host).where(jobs.c.experiment.in_(ids), jobs.c.code == PARTLY_CODE)
    for row in connection.execute(query) if ids else ():
        found.setdefault(row.experiment, set()).add(row.host)
    return found


def locked(connection: Connection, experiment: str) -> Row[Any]:
    """One experiment that is known to be there, locked until the end of the transaction."""
    return connection.execute(_LOCKED, {"id": experiment}).one()


def request_cancel(connection: Connection, experiment: str, because: str | None = None) -> Row[Any]:
    """Note that its user wants it cancelled, or that it is to end for another cause; the row as it was, locked."""
    row = locked(connection, experiment)
    values = {"cancel_requested": True} | ({"ended_because": because} if because else {})
    connection.execute(update(experiments).where(experiments.c.id == experiment).values(**values))
    return row


def jobs_of(connection: Connection, experiment: str) -> Sequence[Row[Any]]:
    """Its jobs, each with when its host was last ``heard``, in the order in which they were placed."""
    rows: Sequence[Any] = connection.execute(_JOBS_OF, {"id": experiment}).all()
    return rows


def job(connection: Connection, job_id: str, owner: str | None) -> Row[Any]:
    """One job with ``heard`` of its host, ``owner`` and ``created`` of its experiment.

    Raises :class:`NotFoundError`.
    """
    row = connection.execute(_JOB, {"id": job_id}).one_or_none()
    return _owned(row, owner, "job", job_id)


def grants_of(connection: Connection, job_id: str) -> list[dict[str, Any]]:
    """The grants by which a job was ordered, as its order has them."""
    order = connection.execute(_ORDER, {"id": job_id}).scalar_one()
    return list(order.get("grants", ()))


def locked_job(connection: Connection, job_id: str) -> Row[Any]:
    """One job, locked until the end of the transaction. Raises :class:`NotFoundError`."""
    return _owned(connection.execute(_LOCKED_JOB, {"id": job_id}).one_or_none(), None, "job", job_id)


def open_jobs_on(connection: Connection, experiment: str, host: str) -> Sequence[Row[Any]]:
    """The jobs of an experiment that the host has and that have not ended."""
    query = select(jobs).where(jobs.c.experiment == experiment, jobs.c.host == host, jobs.c.state.not_in(_NOT_THERE))
    return connection.execute(query).all()


def upload_arrived(connection: Connection, job_id: str) -> None:
    """One declared input of a queued job is complete."""
    connection.execute(
        update(jobs).where(jobs.c.id == job_id).values(uploads_missing=jobs.c.uploads_missing - 1)
    )  # fmt: skip


def events_after(connection: Connection, experiment: str, after: int, most: int) -> Sequence[Row[Any]]:
    """The events of an experiment that follow event ``after``, oldest first."""
    return connection.execute(_EVENTS, {"id": experiment, "after": after, "most": most}).all()


def logs(
    connection: Connection, experiment: str, filters: dict[str, str | None], after: int, most: int
) -> Sequence[Row[Any]]:
    """The events with log lines that follow event ``after``, oldest first; ``filters`` are values of columns."""
    query = select(events).where(events.c.experiment == experiment, events.c.kind == "log", events.c.id > after)
    for column, value in filters.items():
        if value is not None:
            query = query.where(events.c[column] == value)
    return connection.execute(query.order_by(events.c.id).limit(most)).all()


def last_logs(connection: Connection, experiment: str, jobs: Sequence[str], most: int) -> Sequence[Row[Any]]:
    """The last events with log lines of these jobs, newest first."""
    query = select(events).where(events.c.experiment == experiment, events.c.kind == "log", events.c.job.in_(jobs))
    return connection.execute(query.order_by(events.c.id.desc()).limit(most)).all()


def last_metrics(connection: Connection, experiment: str) -> Sequence[Row[Any]]:
    """The last event with metrics of each job."""
    own = select(func.max(events.c.id)).where(events.c.experiment == experiment, events.c.kind == "metrics")
    query = select(events).where(events.c.id.in_(own.group_by(events.c.job)))
    return connection.execute(query.order_by(events.c.id)).all()


def _owned(row: Row[Any] | None, owner: str | None, kind: str, name: str) -> Row[Any]:
    if row is None or (owner is not None and row.owner != owner):
        whose = "" if owner is None else " of yours"
        raise NotFoundError(f"no {kind}{whose} has the id {name!r}; fedproc experiments lists them")
    return row
