"""The append-only events that the API's streams show."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import Connection, insert

from fedproc.central.store.schema import events

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
