"""Sign-ins at the dashboard."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from fedproc.central.db.schema import sessions

_ONE = select(sessions).where(sessions.c.id == bindparam("id"), sessions.c.expires > bindparam("now"))
_ADD = insert(sessions)


def add(connection: Connection, values: dict[str, Any], now: float) -> None:
    """Keep one; those that are over go, so that nobody has to tidy up."""
    connection.execute(delete(sessions).where(sessions.c.expires <= now))
    connection.execute(_ADD, values)


def find(connection: Connection, session: str, now: float) -> Row[Any] | None:
    """One that is not over."""
    return connection.execute(_ONE, {"id": session, "now": now}).one_or_none()


def keep(connection: Connection, session: str, before: bytes, sealed: bytes) -> bool:
    """Its renewed tokens, unless another process has changed it, or ended it, since it was ``before``."""
    same = (sessions.c.id == session) & (sessions.c.sealed == before)
    return connection.execute(update(sessions).where(same).values(sealed=sealed)).rowcount > 0


def remove(connection: Connection, session: str, before: bytes | None = None) -> None:
    """End it; with ``before`` only if it still is as it was then."""
    ended = delete(sessions).where(sessions.c.id == session)
    connection.execute(ended if before is None else ended.where(sessions.c.sealed == before))


def remove_of(connection: Connection, subject: str) -> None:
    """All of one person."""
    connection.execute(delete(sessions).where(sessions.c.subject == subject))
