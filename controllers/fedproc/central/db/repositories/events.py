"""The append-only events that the API's streams show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, func, insert, select

from fedproc.central.db.schema import events

_LAST = select(func.coalesce(func.max(events.c.id), 0))
_CHANGED = (
    select(events.c.experiment, func.max(events.c.id).label("last"))
    .where(events.c.id > bindparam("after"))
    .group_by(events.c.experiment)
)
Kind = Literal["state", "progress", "metrics", "log"]
_ADD = insert(events)


def add(
    connection: Connection, kind: Kind, data: dict[str, Any], *, experiment: str, job: Any = None, now: float
) -> int:
    """Add an event of an experiment, or of one of its jobs; its id."""
    whole = {"experiment": experiment, "time": now, "kind": kind, "data": data}
    key = connection.execute(_ADD, whole if job is None else of_job(job, kind, data, now)).inserted_primary_key
    assert key is not None
    return int(key[0])


def add_all(connection: Connection, values: Sequence[dict[str, Any]]) -> None:
    """Add events of jobs, as :func:`of_job` makes them, in this order."""
    connection.execute(_ADD, values)


def of_job(job: Any, kind: Kind, data: dict[str, Any], now: float) -> dict[str, Any]:
    """An event of a job (a row with ``id``, ``experiment``, ``host``, ``task``)."""
    place = {"experiment": job.experiment, "job": job.id, "host": job.host, "task": job.task}
    return {**place, "time": now, "kind": kind, "data": data}


def state_of_job(job: Any, state: str, code: str | None, reason: str | None, now: float) -> dict[str, Any]:
    """The event of a job's new state."""
    return of_job(job, "state", {"state": state, "code": code, "reason": reason}, now)


def add_state(connection: Connection, job: Any, state: str, code: str | None, reason: str | None, now: float) -> None:
    """A job's new state."""
    add_all(connection, [state_of_job(job, state, code, reason, now)])


def changed_since(connection: Connection, after: int | None) -> tuple[int, list[str]]:
    """The id of the last event, and the experiments with events after ``after`` (none are named if that is None)."""
    if after is None:
        return int(connection.execute(_LAST).scalar_one()), []
    rows = connection.execute(_CHANGED, {"after": after}).all()
    return max([after, *(row.last for row in rows)]), [row.experiment for row in rows]
