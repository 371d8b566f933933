"""Revoking a host: one act that ends its jobs, closes the API to it, and has the others cut its connections.

Nothing that it says counts from then on, so the centre ends its jobs itself: what was never claimed as ``cancelled``,
what the host has as ``lost``, at once. It is sent a cancel for each all the same, and obeys if it is honest.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from fedproc.central.db.schema import hosts, jobs, outbox
from fedproc.central.experiments import lost
from fedproc.contract.states import TERMINAL
from fedproc.contract.wire.messages import Revocation

CODE = "host_revoked"


def propagate(connection: Connection, before: Row[Any] | None, after: Row[Any], now: float) -> None:
    """Do what follows from a change of a host's row, in the transaction that makes it.

    A key that was replaced counts no more, either.
    """
    if before is None:
        return
    old, new = before.public_key.get("kid"), after.public_key.get("kid")
    if before.active and old != new:
        _notify_others(connection, after.id, old, revoked=True, now=now)
    if before.active and not after.active:
        _notify_others(connection, after.id, new, revoked=True, now=now)
        _end_jobs(connection, after.id, now)
    elif after.active and not before.active:
        _notify_others(connection, after.id, new, revoked=False, now=now)


def _notify_others(connection: Connection, host: str, key: str | None, *, revoked: bool, now: float) -> None:
    """Every other active host may have connections with it, or get some."""
    if key is None:
        return
    message = Revocation(host=host, key=key, revoked=revoked, at=datetime.fromtimestamp(now, UTC))
    query = select(hosts.c.id).where(hosts.c.active, hosts.c.id != host).order_by(hosts.c.id)
    for other in connection.execute(query).scalars().all():
        _put(connection, other, message, now)


def _end_jobs(connection: Connection, host: str, now: float) -> None:
    query = select(jobs).where(jobs.c.host == host, jobs.c.state.not_in(TERMINAL)).order_by(jobs.c.id)
    rows = connection.execute(query.with_for_update()).all()
    lost.end_jobs(connection, rows, CODE, f"host {host} was revoked by the federation's operator", now)


def _put(connection: Connection, host: str, message: Revocation, now: float) -> None:
    body = message.model_dump(mode="json", exclude_defaults=True)
    connection.execute(insert(outbox).values(job="", host=host, kind="revocation", message=body, created=now))
