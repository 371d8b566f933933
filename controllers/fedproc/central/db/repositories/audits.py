"""Reading the audit, and what could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from fedproc.central.db.schema import audit, dead_letters


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


def dead_letter_page(connection: Connection, before: int | None, most: int) -> Sequence[Row[Any]]:
    """Newest first; of a body only its ``size``."""
    columns: list[Any] = [column for column in dead_letters.c if column.name != "body"]
    query = select(*columns, func.length(dead_letters.c.body).label("size"))
    if before is not None:
        query = query.where(dead_letters.c.id < before)
    rows: Sequence[Any] = connection.execute(query.order_by(dead_letters.c.id.desc()).limit(most)).all()
    return rows
