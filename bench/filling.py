"""A central database with a given number of experiments that have ended: copies of one that was really run."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import Engine, Table, insert, select, text

from fedproc.central.db.engine import connect, read_transaction, write_transaction
from fedproc.central.db.migrate import migrate
from fedproc.central.db.schema import audit, events, experiments, hosts, jobs, outbox, records, tools

_COPIED = (experiments, jobs, events, outbox, records, audit)
_BELONGS_BY = {experiments: "id", jobs: "experiment", events: "experiment", outbox: "job", records: "job"}
_KEPT = 20
"""how much of an id is its original's; the rest is the copy's number"""
_IDS = {"id", "experiment", "job"}


def snapshot(source: Path, target: Path) -> Path:
    """A copy of an SQLite database that may be in use."""
    with sqlite3.connect(f"file:{source}?mode=ro", uri=True) as reader, sqlite3.connect(target) as writer:
        reader.backup(writer)
    return target


def fill(url: str, source: Path, experiment: str, count: int) -> None:
    """Make the database at ``url`` hold hosts and tools of ``source`` and ``count`` copies of its ``experiment``."""
    engine, origin = connect(url), connect(f"sqlite:///{source}")
    migrate(engine)
    with read_transaction(origin) as found, write_transaction(engine) as connection:
        job = found.execute(select(jobs.c.id).where(jobs.c.experiment == experiment)).scalar_one()
        for table in (hosts, tools, *_COPIED):
            query = select(table)
            if table in _BELONGS_BY:
                query = query.where(table.c[_BELONGS_BY[table]].in_([experiment, job]))
            elif table is audit:
                query = query.where(audit.c.target == experiment)
            rows = [dict(row) for row in found.execute(query).mappings()]
            if rows:
                connection.execute(insert(table), [_without_number(table, row) for row in rows])
        for table in _COPIED:
            connection.execute(text(_copies(table)), {"count": count - 1})
    if engine.dialect.name == "postgresql":
        _settle(engine)
    origin.dispose()
    engine.dispose()


def _without_number(table: Table, row: dict[str, object]) -> dict[str, object]:
    """A row without the number that the database gives it."""
    return {name: value for name, value in row.items() if not (name == "id" and _numbered(table))}


def _numbered(table: Table) -> bool:
    return bool(table.c.id.autoincrement is True) if "id" in table.c else False


def _copies(table: Table) -> str:
    names = [column.name for column in table.c if not (column.name == "id" and _numbered(table))]
    given = [_copied_id(name) if name in _IDS else f't."{name}"' for name in names]
    columns = ", ".join(f'"{name}"' for name in names)
    return (
        f"INSERT INTO {table.name} ({columns}) "
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count) "
        f"SELECT {', '.join(given)} FROM n CROSS JOIN (SELECT * FROM {table.name}) AS t"
    )


def _copied_id(name: str) -> str:
    return f'substr(t."{name}", 1, {_KEPT}) || substr(CAST(100000000 + i AS TEXT), 2, 8)'


def _settle(engine: Engine) -> None:
    """As its own housekeeping would have done by the time a database has grown so large."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
