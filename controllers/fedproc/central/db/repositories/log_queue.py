"""What the transparency log has to hold, written in the transaction that does it, until the log has it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from fedproc.central.db.schema import audit, experiments, jobs, log_queue

_ADD = insert(log_queue)
_IDS: Any = bindparam("ids", expanding=True)
_WAITING = select(log_queue).order_by(log_queue.c.id).limit(bindparam("most")).with_for_update(skip_locked=True)
_ANY_WAITING = select(log_queue.c.id).limit(1)
_REMOVE = delete(log_queue).where(log_queue.c.id.in_(_IDS))
_UNLOGGED = audit.c.logged.is_(False)
_ACTS = select(audit).where(_UNLOGGED).order_by(audit.c.id).limit(bindparam("most")).with_for_update(skip_locked=True)
_ANY_ACT = select(audit.c.id).where(_UNLOGGED).limit(1)
_SEAL = update(audit).where(audit.c.id == bindparam("row")).values(seal=bindparam("fresh"))
_LOGGED = update(audit).where(audit.c.id.in_(_IDS)).values(logged=True)
_EXPERIMENTS = select(
    experiments.c.id, experiments.c.owner, experiments.c.tool, experiments.c.version, experiments.c.digest,
    experiments.c.request,
).where(experiments.c.id.in_(_IDS))  # fmt: skip
_JOBS = (
    select(jobs.c.id, jobs.c.experiment, jobs.c.host, jobs.c.task, jobs.c.datasets)
    .where(jobs.c.experiment.in_(_IDS)).order_by(jobs.c.id)
)  # fmt: skip


class LogEntry(NamedTuple):
    """What is to be logged: kind, and what the log says of it."""

    kind: str
    data: dict[str, Any]


def add(connection: Connection, acts: Iterable[LogEntry]) -> None:
    """In the transaction of the acts themselves."""
    now = time.time()
    rows = [{"time": now, "kind": act.kind, "data": act.data} for act in acts]
    if rows:
        connection.execute(_ADD, rows)


def is_any_waiting(connection: Connection) -> bool:
    """Whether there is anything for the log: acts, or entries of the audit."""
    return any(connection.execute(query).first() is not None for query in (_ANY_WAITING, _ANY_ACT))


def waiting(connection: Connection, most: int) -> Sequence[Row[Any]]:
    """The oldest, which no other relay is logging."""
    return connection.execute(_WAITING, {"most": most}).all()


def acts(connection: Connection, most: int) -> Sequence[Row[Any]]:
    """Entries of the audit that the log does not know. One whose seal an erasure took away gets a new one."""
    rows = connection.execute(_ACTS, {"most": most}).all()
    if unsealed := [{"row": row.id, "fresh": secrets.token_hex(16)} for row in rows if row.seal is None]:
        connection.execute(_SEAL, unsealed)
        rows = connection.execute(_ACTS, {"most": most}).all()
    return rows


def logged(connection: Connection, rows: Collection[int], audits: Collection[int]) -> None:
    """The log has these."""
    if rows:
        connection.execute(_REMOVE, {"ids": sorted(rows)})
    if audits:
        connection.execute(_LOGGED, {"ids": sorted(audits)})


def submitted(connection: Connection, ids: Collection[str]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Rows of these experiments, and of their jobs, by experiment."""
    found = {row.id: row for row in connection.execute(_EXPERIMENTS, {"ids": sorted(ids)})} if ids else {}
    placed: dict[str, list[Any]] = {}
    for row in connection.execute(_JOBS, {"ids": sorted(ids)}) if ids else ():
        placed.setdefault(row.experiment, []).append(row)
    return found, placed
