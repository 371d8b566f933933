"""The file of the journal: its tables, and how one of a release of before becomes one of this."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from fedproc.common.log import get_logger

log = get_logger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, open INTEGER NOT NULL, doc TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_open ON jobs (open) WHERE open = 1;
CREATE TABLE IF NOT EXISTS endings (job TEXT PRIMARY KEY, at REAL NOT NULL, until REAL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS endings_kept ON endings (at) WHERE until IS NULL;
CREATE INDEX IF NOT EXISTS endings_gone ON endings (until) WHERE until IS NOT NULL;
CREATE TABLE IF NOT EXISTS tombstone_times (job TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unreadable (
    job TEXT PRIMARY KEY, doc BLOB NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS tombstones (job TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS revocations (
    key TEXT PRIMARY KEY, host TEXT NOT NULL, revoked INTEGER NOT NULL, at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, body TEXT NOT NULL, at REAL
);
"""
_DATED = (
    "INSERT OR IGNORE INTO endings SELECT id, :now, NULL FROM jobs WHERE open = 0",
    "INSERT OR IGNORE INTO tombstone_times SELECT job, :now FROM tombstones",
    "UPDATE outbox SET at = :now WHERE at IS NULL",
)
"""what a release of before kept without a time counts from now on; an id that is there keeps its own"""
_INCREMENTAL = 2
_MAY_BE_REWRITTEN = 256 << 20
_WAL_BYTES = 16 << 20


def connect(path: Path) -> sqlite3.Connection:
    """The journal in this file, which is made if there is none. Raises :class:`sqlite3.Error`."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")  # its reader sees what is broken
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # of a new file; one that is there is rewritten below
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
    connection.execute("PRAGMA synchronous=FULL")
    connection.executescript(_SCHEMA)
    if not any(column[1] == "at" for column in connection.execute("PRAGMA table_info(outbox)")):
        connection.execute("ALTER TABLE outbox ADD COLUMN at REAL")
    for statement in _DATED:
        _execute_if_readable(connection, statement, {"now": time.time()})
    _make_shrinkable(connection, path)
    return connection


def _execute_if_readable(connection: sqlite3.Connection, statement: str, values: dict[str, float]) -> None:
    """A damaged page of what has ended stays as it is, without a date, and is not removed: open jobs go on."""
    try:
        connection.execute(statement, values)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        log.error("journal.damaged", reason=str(error), cure="the host goes on; put its journal back from a backup")


def _make_shrinkable(connection: sqlite3.Connection, path: Path) -> None:
    """A file of the release before is rewritten once, so that it can be cut down; unless it is large, or the disk full.

    Without, the pages of what is removed are used again, and the file does not grow.
    """
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] == _INCREMENTAL:
        return
    if path.stat().st_size > _MAY_BE_REWRITTEN:
        return
    with contextlib.suppress(sqlite3.DatabaseError):
        connection.execute("VACUUM")
