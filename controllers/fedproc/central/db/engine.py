"""Opening the central database, and its three kinds of transaction: read, write and serialized.

On SQLite a write transaction takes the write lock at its start (BEGIN IMMEDIATE), because a lock that is
upgraded later can fail at once instead of waiting. On PostgreSQL both are ordinary READ COMMITTED transactions.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DisconnectionError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from fedproc.common.errors import UnavailableError

T = TypeVar("T")

BUSY_MS = 10_000
CONNECT_SECONDS = 10
POOL_SECONDS = 20.0
"""for a connection of the pool, when others have them all"""
STATEMENT_SECONDS = 60.0
_SURE_SECONDS = 5.0
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_PRIMARY = 0xFF
"""of SQLite's extended result codes, which say more of the same"""
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(7203392)")
_CLAIM = text("SELECT pg_try_advisory_lock(7203393)")
_RELEASE = text("SELECT pg_advisory_unlock(7203393)")


def connect(url: str, statement_seconds: float = STATEMENT_SECONDS) -> Engine:
    """An engine for ``sqlite:///PATH`` or ``postgresql+psycopg://…``; nothing is opened yet.

    On PostgreSQL a statement is ended after ``statement_seconds`` (0: never), its waits for locks included. What the
    URL itself says of a limit (``?connect_timeout=3``) counts before ours.
    """
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": BUSY_MS / 1000})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    limits: dict[str, Any] = dict(postgres_limits(url))
    if "options" not in make_url(url).query:
        limits["options"] = f"-c statement_timeout={int(statement_seconds * 1000)}"
    engine = create_engine(url, pool_size=10, max_overflow=10, pool_timeout=POOL_SECONDS, connect_args=limits)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _check_if_idle)
    return engine


def postgres_limits(url: str) -> dict[str, int]:
    """For libpq: how long it waits for a server that does not answer, or that is gone without a word."""
    limits = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    }
    return {name: value for name, value in limits.items() if name not in make_url(url).query}


def is_sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"


@contextmanager
def read_transaction(engine: Engine) -> Iterator[Connection]:
    """For reading only. On SQLite it sees one state of the database throughout.

    On PostgreSQL each statement sees what is committed when it begins, as in a transaction there; without one,
    two round trips are spared.
    """
    with _available(), engine.connect() as connection:
        yield connection if is_sqlite(engine) else connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.rollback()


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes: commits at the end of the block, rolls back if the block raises."""
    with _available(), engine.connect().execution_options(fedproc_writes=True) as connection:
        with connection.begin():
            yield connection


@contextmanager
def serialized_transaction(engine: Engine) -> Iterator[Connection]:
    """A writing transaction in which jobs change their state: one at a time in the whole centre.

    So a gang is admitted by what the hosts have, not by what they had before another gang was; the ids of events
    grow in the order in which they become visible, by which streams are resumed; and no two writers lock each
    other out over an experiment and its jobs.
    """
    with write_transaction(engine) as connection:
        if not is_sqlite(engine):
            connection.execute(_ONE_AT_A_TIME)
        yield connection


@contextmanager
def claimed_alone(engine: Engine) -> Iterator[bool]:
    """Whether the caller alone may do what is done by one program at a time, over many transactions.

    The claim ends with the block, or with the connection of a program that dies. On SQLite there is one relay.
    """
    if is_sqlite(engine):
        yield True
        return
    with _available(), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        claimed = bool(connection.scalar(_CLAIM))
        try:
            yield claimed
        finally:
            if claimed:
                connection.execute(_RELEASE)


def retry_on_conflict(write: Callable[[], T]) -> T:
    """What ``write`` gives; it is called again if another transaction wrote its row between its read and its own."""
    try:
        return write()
    except IntegrityError:
        return write()


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise UnavailableError(_told(error), code="unavailable.database") from error
    except PoolTimeoutError as error:
        raise UnavailableError(
            f"no connection to the central database has come free within {POOL_SECONDS:g} s: it is slow, or it is asked"
            " more than it can answer; try again, and see the database's log",
            code="unavailable.database",
        ) from error


def _told(error: OperationalError) -> str:
    if getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY in _BUSY:
        return (
            "the centre is busy: others have been writing all the while; nothing was changed, try again in some seconds"
        )
    return f"the central database does not answer: {error.orig}; try again, and see the database's log"


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _note_use(_connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _check_if_idle(connection: Any, record: Any, _proxy: Any) -> None:
    """A connection that was used a moment ago is there: only an older one is tried before it is given out."""
    if time.monotonic() - record.info.get("used", 0.0) < _SURE_SECONDS:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error as error:
        raise DisconnectionError(str(error)) from error


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("fedproc_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
