"""The audit as operators read it and as programs add to it, and what could not be read."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, union, update

from fedproc.central.db.schema import audit, dead_letters, experiments
from fedproc.central.db.submission_tables import submissions

_NAMING = (submissions, experiments)
"""tables that say how their owners are called"""
LONGEST_DETAIL = 500
"""characters"""


def page(
    connection: Connection,
    filters: dict[str, Any],
    since: float | None,
    until: float | None,
    before: int | None,
    most: int,
) -> Sequence[Row[Any]]:
    """Newest first. ``filters`` are values of columns; times in seconds since 1970."""
    query = select(audit).order_by(audit.c.id.desc()).limit(most)
    for column, value in filters.items():
        if value is not None:
            query = query.where(audit.c[column] == value)
    if since is not None:
        query = query.where(audit.c.time >= since)
    if until is not None:
        query = query.where(audit.c.time < until)
    if before is not None:
        query = query.where(audit.c.id < before)
    return connection.execute(query).all()


def names_of(connection: Connection, actors: Iterable[str]) -> dict[str, str]:
    """How they were called when they last started an experiment or sent in a tool, of those who ever did."""
    known, found = sorted(set(actors)), dict[str, str]()
    for table in _NAMING:
        last, named = func.max(table.c.created), table.c.owner_name != ""
        query = select(table.c.owner, table.c.owner_name).where(table.c.owner.in_(known), named)
        rows = connection.execute(query.group_by(table.c.owner, table.c.owner_name).order_by(last))
        found |= {row.owner: row.owner_name for row in rows}
    return found


def actors_named(connection: Connection, name: str) -> list[str]:
    """Those who were called so at one of these times, in capitals or not."""
    same = [select(table.c.owner).where(func.lower(table.c.owner_name) == name.lower()) for table in _NAMING]
    return sorted(connection.execute(union(*same)).scalars())


def dead_letter_page(connection: Connection, before: int | None, most: int) -> Sequence[Row[Any]]:
    """Newest first; of a body only its ``size``."""
    columns: list[Any] = [column for column in dead_letters.c if column.name != "body"]
    query = select(*columns, func.length(dead_letters.c.body).label("size"))
    if before is not None:
        query = query.where(dead_letters.c.id < before)
    rows: Sequence[Any] = connection.execute(query.order_by(dead_letters.c.id.desc()).limit(most)).all()
    return rows


def add(connection: Connection, actor: str, action: str, target: str | None, detail: str, now: float) -> int:
    """What a program did that no request asked for, or that is part of what one asked for; the entry's id."""
    entry = {"time": now, "actor": actor, "method": "", "path": "", "action": action, "target": target}
    values = {**entry, "outcome": 200, "detail": detail[:LONGEST_DETAIL], **to_be_logged()}
    added = connection.execute(insert(audit).values(**values))
    assert added.inserted_primary_key is not None
    return int(added.inserted_primary_key[0])


def describe_again(connection: Connection, entry: int, detail: str) -> None:
    """Let an entry tell of what was done since it was added."""
    connection.execute(update(audit).where(audit.c.id == entry).values(detail=detail[:LONGEST_DETAIL]))


def to_be_logged() -> dict[str, Any]:
    """Of a new entry: that the transparency log does not have it yet, and what it commits to it with."""
    return {"seal": secrets.token_hex(16), "logged": False}
