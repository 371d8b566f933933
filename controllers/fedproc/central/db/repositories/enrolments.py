"""Enrolments: from a code that was given out to a certificate, one row per host."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Row, insert, select, update

from fedproc.central.db.schema import enrolments

MOST_WRONG = 10
"""wrong tries after which a code is void"""

CodeState = Literal["good", "wrong", "expired", "void"]
_ROW = enrolments.c


def offer(connection: Connection, host: str, code_sha256: str, now: float, expires: float) -> None:
    """A new code for the host; what was there of an earlier one is gone."""
    fresh: dict[str, Any] = dict.fromkeys(
        ("request", "public_key", "fingerprint", "requested", "certificate", "reason", "decided")
    )
    values = fresh | {"code_sha256": code_sha256, "created": now, "expires": expires, "wrong": 0, "state": "offered"}
    if not connection.execute(update(enrolments).where(_ROW.host == host).values(**values)).rowcount:
        connection.execute(insert(enrolments).values(host=host, **values))


def one(connection: Connection, host: str) -> Row[Any] | None:
    return connection.execute(select(enrolments).where(_ROW.host == host)).one_or_none()


def undecided(connection: Connection) -> Sequence[Row[Any]]:
    """Those for which a code was given out, or a request has come, by host."""
    query = select(enrolments).where(_ROW.state.in_(["offered", "requested"]))
    return connection.execute(query.order_by(_ROW.host)).all()


def code_state(row: Row[Any] | None, code_sha256: str, now: float) -> CodeState:
    """What a code is worth. Once a request has come with it, it is bound to that key and does not grow old."""
    expected = row.code_sha256 if row is not None else "0" * 64
    if not hmac.compare_digest(expected, code_sha256) or row is None:
        return "wrong"
    if row.state != "offered":
        return "good"
    return unused_code_state(row, now)


def unused_code_state(row: Row[Any], now: float) -> CodeState:
    """Whether a code that is not bound yet can still be used."""
    if row.wrong >= MOST_WRONG:
        return "void"
    return "expired" if now >= row.expires else "good"


def count_wrong(connection: Connection, host: str) -> None:
    """A wrong code was tried. One that is bound to a key already cannot be made void by strangers."""
    connection.execute(
        update(enrolments).where(_ROW.host == host, _ROW.state == "offered").values(wrong=_ROW.wrong + 1)
    )


def bind(connection: Connection, host: str, code_sha256: str, values: dict[str, Any], now: float) -> bool:
    """Bind the code to the key of its first request; False if it was not free any more."""
    free = (_ROW.host == host, _ROW.code_sha256 == code_sha256, _ROW.state == "offered")
    change = update(enrolments).where(*free).values(state="requested", requested=now, **values)
    return bool(connection.execute(change).rowcount)


def decide(connection: Connection, host: str, before: Row[Any], now: float, **values: Any) -> bool:
    """Confirm or refuse the request that was looked at; False if another one stands there by now."""
    same = (_ROW.host == host, _ROW.code_sha256 == before.code_sha256, _ROW.state == before.state)
    return bool(connection.execute(update(enrolments).where(*same).values(decided=now, **values)).rowcount)
