"""Reading the audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from fedproc.central.store.schema import audit


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
