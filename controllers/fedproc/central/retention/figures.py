"""How much is kept of each kind: counted when retention is applied, so that whoever asks reads a few rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, func, insert, literal, select, text, update

from fedproc.central.db.engine import is_sqlite, read_transaction, write_transaction
from fedproc.central.db.schema import discards, files, kept
from fedproc.central.retention.rules import RULES, Rule
from fedproc.central.retention.storage import Storage
from fedproc.common.errors import UnavailableError
from fedproc.common.log import get_logger

log = get_logger(__name__)

_MANY = 100_000
"""rows; of a table with more PostgreSQL is asked for its estimate, as a count reads every one"""
_COUNTED = 1_000_000
"""rows that are counted at most"""
DATABASE, ORPHANS = "database", "orphans"
_SIZE = func.coalesce(func.sum(files.c.size), 0)
_OF_FILES: Mapping[str, Select[Any]] = {
    "experiments": select(func.count(), _SIZE).where(files.c.experiment.is_not(None), files.c.state == "complete"),
    "files": select(func.count(), _SIZE).where(files.c.job.is_(None), files.c.state == "complete"),
    "uploads": select(func.count(), _SIZE).where(files.c.state == "pending"),
}
"""these kinds are as large as their files are, the others as their rows in the database"""


def last_time(connection: Connection) -> float | None:
    """When retention was last applied to the end."""
    found: float | None = connection.scalar(select(func.max(kept.c.time)))
    return found


def read(connection: Connection) -> Sequence[Row[Any]]:
    """What was counted then, by kind."""
    return connection.execute(select(kept).order_by(kept.c.kind)).all()


def count(storage: Storage, removed: Mapping[str, int], now: float) -> None:
    """Count all kinds again; ``removed``: how many rows of each were deleted since it was last done.

    Where the database takes too long over a kind, what was counted before stays.
    """
    kinds: dict[str, _Count] = {rule.kind: partial(_of, rule=rule) for rule in RULES}
    kinds |= {ORPHANS: lambda connection: (_rows(connection, discards), None)}
    kinds |= {DATABASE: lambda connection: (0, _database(connection))}
    found = {kind: _counted(storage, kind, of) for kind, of in kinds.items()}
    with write_transaction(storage.engine) as connection:
        for kind, values in found.items():
            more = removed.get(kind, 0)
            known = update(kept).where(kept.c.kind == kind)
            if not connection.execute(known.values(**values, time=now, removed=kept.c.removed + more)).rowcount:
                first = {"kind": kind, "rows": 0, "time": now, "removed": more, **values}
                connection.execute(insert(kept).values(**first))


_Count = Callable[[Connection], tuple[int, int | None]]


def _counted(storage: Storage, kind: str, of: _Count) -> dict[str, int | None]:
    try:
        with read_transaction(storage.engine) as connection:
            rows, size = of(connection)
    except UnavailableError as error:
        log.warning("retention.not_counted", kind=kind, reason=error.message)
        return {}
    return {"rows": rows, "bytes": size}


def _of(connection: Connection, rule: Rule) -> tuple[int, int | None]:
    if (query := _OF_FILES.get(rule.kind)) is not None:
        count, size = connection.execute(query).one()
        if rule.kind != "experiments":
            return int(count), int(size)
        return _rows(connection, rule.table), int(size)
    return _rows(connection, rule.table), _table(connection, rule.table.name)


def _rows(connection: Connection, table: Table) -> int:
    estimate = _estimate(connection, table.name)
    if estimate > _MANY:
        return estimate
    some = select(literal(1)).select_from(table).limit(_COUNTED).subquery()
    return connection.scalar(select(func.count()).select_from(some)) or 0


def _estimate(connection: Connection, name: str) -> int:
    """What autovacuum last found of a table; -1 before its first time, and on SQLite."""
    if is_sqlite(connection.engine):
        return -1
    estimate = text("SELECT reltuples FROM pg_class WHERE oid = to_regclass(:name)")
    return int(connection.scalar(estimate, {"name": name}) or -1)


def _table(connection: Connection, name: str) -> int | None:
    """Bytes of a table with its indexes; SQLite does not tell."""
    if is_sqlite(connection.engine):
        return None
    size = text("SELECT pg_total_relation_size(to_regclass(:name))")
    return int(connection.scalar(size, {"name": name}) or 0)


def _database(connection: Connection) -> int:
    if is_sqlite(connection.engine):
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
        return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar() or 0)
    return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
