"""The audit as operators read it and as programs add to it, and what could not be read."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

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
    return _last_names(connection, sorted(set(actors)))


def actors_named(connection: Connection, name: str) -> list[str]:
    """Those who are called so by :func:`names_of`, in capitals or not; and ``name`` itself if it is an actor's.

    Nobody hides another's acts by taking that one's subject for a name.
    """
    called = _last_names(connection, None)
    found = {owner for owner, own in called.items() if own.casefold() == name.casefold()}
    own_acts = select(audit.c.id).where(audit.c.actor == name).limit(1)
    return sorted(found if connection.execute(own_acts).first() is None else {*found, name})


def _last_names(connection: Connection, owners: Sequence[str] | None) -> dict[str, str]:
    """Of these owners, or of all; the last row of each is found by an index, as rows are long and ids sort by time."""
    found = dict[str, str]()
    for table in _NAMING:
        last = select(func.max(table.c.id)).group_by(table.c.owner)
        last = last if owners is None else last.where(table.c.owner.in_(owners))
        query = select(table.c.owner, table.c.owner_name).where(table.c.id.in_(last), table.c.owner_name != "")
        found |= {row.owner: row.owner_name for row in connection.execute(query)}
    return found


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
