"""Tools that were sent in, as the API writes and reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, delete, exists, func, insert, select, update

from fedproc.central.db.schema import submissions, tools
from fedproc.common.errors import ConflictError, NotFoundError

_COLUMNS = submissions.c
_IN_CATALOGUE = and_(tools.c.id == _COLUMNS.tool, tools.c.version == _COLUMNS.version, tools.c.approved)
_OFFERED = and_(_COLUMNS.state == "approved", exists().where(_IN_CATALOGUE)).label("offered")
_LISTED = [column for column in _COLUMNS if column.name not in {"bundle", "manifest"}]


def add(connection: Connection, values: dict[str, Any]) -> None:
    connection.execute(insert(submissions).values(**values))


def count_waiting(connection: Connection, owner: str) -> int:
    """How many of the owner's have no decision."""
    query = select(func.count()).where(_COLUMNS.owner == owner, _COLUMNS.state == "waits")
    return int(connection.execute(query).scalar_one())


def waiting(connection: Connection, owner: str, digest: str) -> str | None:
    """The owner's of this content that has no decision, if there is one."""
    query = select(_COLUMNS.id).where(_COLUMNS.owner == owner, _COLUMNS.digest == digest, _COLUMNS.state == "waits")
    return connection.execute(query.limit(1)).scalar_one_or_none()


def page(connection: Connection, owner: str | None, state: str | None, most: int) -> Sequence[Row[Any]]:
    """Newest first; of that owner unless None."""
    query: Select[Any] = select(*_LISTED, _OFFERED).order_by(_COLUMNS.id.desc()).limit(most)
    if owner is not None:
        query = query.where(_COLUMNS.owner == owner)
    return connection.execute(query if state is None else query.where(_COLUMNS.state == state)).all()


def one(connection: Connection, submission: str, owner: str | None) -> Row[Any]:
    """With its manifest and source. Raises :class:`NotFoundError`, the same for one of somebody else."""
    row = connection.execute(select(submissions, _OFFERED).where(_COLUMNS.id == submission)).one_or_none()
    if row is None or owner not in {None, row.owner}:
        raise NotFoundError(f"there is no submission {submission}")
    return row


def decide(connection: Connection, submission: str, state: str, text: str, now: float) -> None:
    """Decide once. Raises :class:`ConflictError` if it was decided already. The source of one refused is not kept."""
    values: dict[str, Any] = {"state": state, "text": text, "decided": now}
    if state == "refused":
        values["bundle"] = b""
    changed = update(submissions).where(_COLUMNS.id == submission, _COLUMNS.state == "waits").values(**values)
    if connection.execute(changed).rowcount == 0:
        raise ConflictError(f"submission {submission} was decided already", code="conflict.decided")


def withdraw(connection: Connection, submission: str) -> None:
    connection.execute(delete(submissions).where(_COLUMNS.id == submission))


def erase(connection: Connection, owner: str) -> None:
    """All that a person sent in."""
    connection.execute(delete(submissions).where(_COLUMNS.owner == owner))
