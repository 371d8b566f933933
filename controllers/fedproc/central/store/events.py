"""The append-only events that the API's streams show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, func, insert, select

from fedproc.central.store.schema import events
from fedproc.contract.states import JobState

_LAST = select(func.coalesce(func.max(events.c.id), 0))
_GROWN = (
    select(events.c.experiment, func.max(events.c.id).label("last"))
    .where(events.c.id > bindparam("after"))
    .group_by(events.c.experiment)
)
Kind = Literal["state", "progress", "metrics", "log"]
_ADD = insert(events)


def add(
    connection: Connection, kind: Kind, data: dict[str, Any], *, experiment: str, job: Any = None, now: float
) -> int:
    """Add an event of an experiment, or of one of its jobs (a row with ``id``, ``host``, ``task``); its id."""
    values = {"experiment": experiment, "time": now, "kind": kind, "data": data}
    if job is not None:
        values |= {"job": job.id, "host": job.host, "task": job.task}
    key = connection.execute(_ADD, values).inserted_primary_key
    assert key is not None
    return int(key[0])


def add_dispatched(connection: Connection, rows: Sequence[Any], now: float) -> None:
    """The jobs (rows with ``id``, ``experiment``, ``host``, ``task``) are dispatched: one event each, in order."""
    data = {"state": JobState.dispatched.value, "code": None, "reason": None}
    common = {"time": now, "kind": "state", "data": data}
    values = [{"experiment": r.experiment, "job": r.id, "host": r.host, "task": r.task, **common} for r in rows]
    connection.execute(_ADD, values)


def add_state(connection: Connection, job: Any, state: str, code: str | None, reason: str | None, now: float) -> None:
    """A job's new state."""
    add(
        connection,
        "state",
        {"state": state, "code": code, "reason": reason},
        experiment=job.experiment,
        job=job,
        now=now,
    )


def grown(connection: Connection, after: int | None) -> tuple[int, list[str]]:
    """The id of the last event, and the experiments with events after ``after`` (none are named if that is None)."""
    if after is None:
        return int(connection.execute(_LAST).scalar_one()), []
    rows = connection.execute(_GROWN, {"after": after}).all()
    return max([after, *(row.last for row in rows)]), [row.experiment for row in rows]
