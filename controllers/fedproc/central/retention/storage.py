"""What retention works on, and in which portions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, Table, delete, select

from fedproc.central.db.engine import write_transaction
from fedproc.central.files.blobs import Blobs

BATCH = 500
"""rows that one transaction deletes: so few that nobody waits for it long"""


@dataclass(frozen=True)
class Storage:
    """The central database and the file store beside it."""

    engine: Engine
    blobs: Blobs


@dataclass(frozen=True)
class Span:
    """What was before ``cutoff`` is too old at ``now``; both in seconds since 1970."""

    cutoff: float
    now: float


def delete_where(storage: Storage, table: Table, key: Any, condition: ColumnElement[bool]) -> Iterator[int]:
    """Delete what fulfils ``condition`` in portions; ``key`` is a column that tells its rows apart.

    Yields how many rows each transaction has deleted.
    """
    portion = select(key).where(condition).limit(BATCH).scalar_subquery()
    statement = delete(table).where(condition, key.in_(portion))
    while True:
        with write_transaction(storage.engine) as connection:
            removed = connection.execute(statement).rowcount
            # whoever else deletes the same rows leaves none of a portion, though there are more
            done = removed < BATCH and connection.execute(select(key).where(condition).limit(1)).first() is None
        yield removed
        if done:
            return
