"""How much is kept of each kind: counted when retention is applied, so that whoever asks reads a few rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, text, update

from fedproc.central.db.engine import is_sqlite, read_transaction, write_transaction
from fedproc.central.db.schema import discards, files, kept
from fedproc.central.retention.rules import RULES, Rule
from fedproc.central.retention.storage import Storage

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
    """Count all kinds again; ``removed``: how many rows of each were deleted since it was last done."""
    with read_transaction(storage.engine) as connection:
        found = {rule.kind: _of(connection, rule) for rule in RULES}
        orphans = connection.scalar(select(func.count()).select_from(discards)) or 0
        found[ORPHANS] = (orphans, None)
        found[DATABASE] = (0, _database(connection))
    with write_transaction(storage.engine) as connection:
        for kind, (rows, size) in found.items():
            values = {"rows": rows, "bytes": size, "time": now}
            more = removed.get(kind, 0)
            known = update(kept).where(kept.c.kind == kind).values(**values, removed=kept.c.removed + more)
            if not connection.execute(known).rowcount:
                connection.execute(insert(kept).values(kind=kind, **values, removed=more))


def _of(connection: Connection, rule: Rule) -> tuple[int, int | None]:
    if (query := _OF_FILES.get(rule.kind)) is not None:
        count, size = connection.execute(query).one()
        if rule.kind != "experiments":
            return int(count), int(size)
        return _rows(connection, rule), int(size)
    return _rows(connection, rule), _table(connection, rule.table.name)


def _rows(connection: Connection, rule: Rule) -> int:
    return connection.scalar(select(func.count()).select_from(rule.table)) or 0


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
