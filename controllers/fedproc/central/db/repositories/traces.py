"""Traces for EUCAIM's tracing service: written with the act, claimed for a while to be sent, kept once delivered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from fedproc.central.db.schema import datasets, experiments, jobs, traces

_IS_THERE = select(traces.c.id).where(traces.c.key == bindparam("key"))
_JOB = (
    select(
        jobs.c.host, jobs.c.datasets, experiments.c.id, experiments.c.owner, experiments.c.tool,
        experiments.c.version, experiments.c.digest, experiments.c.request,
    )
    .join(experiments, experiments.c.id == jobs.c.experiment).where(jobs.c.id == bindparam("id"))
)  # fmt: skip
_WAITS = traces.c.sent.is_(None) & traces.c.refused.is_(None)


class Counts(NamedTuple):
    """How many wait, since when the oldest does, how many were delivered and refused of those that are kept."""

    waiting: int
    oldest: float | None
    delivered: int
    refused: int


def is_there(connection: Connection, key: str) -> bool:
    return connection.execute(_IS_THERE, {"key": key}).first() is not None


def facts_of(connection: Connection, job: str) -> dict[str, Any] | None:
    """Of a job: owner, experiment, tool, project, and its datasets, as a catalogue outside calls them if one does."""
    row = connection.execute(_JOB, {"id": job}).one_or_none()
    if row is None:
        return None
    ids = [str(use["id"]) for use in row.datasets]
    query = select(datasets.c.id, datasets.c.catalogue).where(datasets.c.host == row.host, datasets.c.id.in_(ids))
    outside = {one.id: one.catalogue for one in connection.execute(query)}
    return {
        "owner": row.owner,
        "experiment": row.id,
        "host": row.host,
        "project": (row.request or {}).get("project"),
        "project_by": (row.request or {}).get("told_by", {}).get("project"),
        "tool": row.tool,
        "version": row.version,
        "digest": row.digest,
        "datasets": [outside.get(one) or f"{row.host}:{one}" for one in ids],
        "versions": [str(use.get("version") or "") for use in row.datasets],
    }


def add(
    connection: Connection, *, key: str, kind: str, experiment: str, owner: str, body: dict[str, Any], now: float
) -> None:
    """In the transaction of the act itself."""
    values = {"key": key, "kind": kind, "experiment": experiment, "owner": owner, "body": body}
    connection.execute(insert(traces).values(**values, created=now, due=now, attempts=0))


def claim(connection: Connection, now: float, until: float, most: int) -> Sequence[Row[Any]]:
    """The oldest that are due, which nobody else sends before ``until``."""
    query = select(traces).where(_WAITS, traces.c.due <= now).order_by(traces.c.id).limit(most)
    rows = connection.execute(query.with_for_update(skip_locked=True)).all()
    _set(connection, [row.id for row in rows], due=until)
    return rows


def delivered(connection: Connection, trace: int, now: float) -> None:
    _set(connection, [trace], sent=now, reason=None)


def refused(connection: Connection, trace: int, reason: str, now: float) -> None:
    """The service will never take it; it stays for the operator to look at."""
    _set(connection, [trace], refused=now, reason=reason)


def put_off(connection: Connection, trace: int, reason: str, due: float) -> None:
    """To be tried again then."""
    values = {"due": due, "reason": reason, "attempts": traces.c.attempts + 1}
    connection.execute(update(traces).where(traces.c.id == trace).values(**values))


def release(connection: Connection, ids: Sequence[int], due: float) -> None:
    """Claimed and not tried: due again then."""
    _set(connection, ids, due=due)


def counts(connection: Connection) -> Counts:
    query = select(
        func.count().filter(_WAITS), func.min(traces.c.created).filter(_WAITS),
        func.count(traces.c.sent), func.count(traces.c.refused),
    )  # fmt: skip
    return Counts(*connection.execute(query).one())


def erase(connection: Connection, owner: str) -> int:
    """Those of one person."""
    return connection.execute(delete(traces).where(traces.c.owner == owner)).rowcount


def _set(connection: Connection, ids: Sequence[int], **values: Any) -> None:
    if ids:
        connection.execute(update(traces).where(traces.c.id.in_(ids)).values(**values))
