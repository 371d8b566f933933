"""Whether the centre works: every part is asked, none is believed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select
from starlette.concurrency import run_in_threadpool

from fedproc.central.api.deps import AppState
from fedproc.central.api.views import host_view
from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import hosts
from fedproc.central.db.schema import relays
from fedproc.common.errors import FedprocError
from fedproc.contract.api.operations import Health

_OK = "ok"
_PARTS = ("database", "broker", "issuer", "relay")


async def check_health(app: AppState) -> tuple[Health, Health]:
    """Database, issuer, and what the living relays say of the broker; the hosts' last heartbeats beside them.

    As operators see it, and as everybody may: paths, disks and alarms tell where a hospital is weak.
    """
    database, relay, broker, found = await run_in_threadpool(_read_database, app)
    issuer = await _issuer(app)
    works = all(part == _OK for part in (database, relay, broker, issuer))
    health = Health(
        status="ok" if works else "degraded",
        database=database,
        broker=broker,
        issuer=issuer,
        relay=relay,
        hosts={row.id: _host(row, app.heartbeat_timeout) for row in found},
    )
    up = {row.id: "up" if host_view(row, app.heartbeat_timeout).alive else "down" for row in found}
    return health, _public(health, up)


def _public(health: Health, hosts_up: dict[str, str]) -> Health:
    parts = {name: _OK if getattr(health, name) == _OK else "fails" for name in _PARTS}
    return Health(status=health.status, hosts=hosts_up, **parts)


async def _issuer(app: AppState) -> str:
    try:
        await app.issuer.discover()
    except FedprocError as error:
        return error.message
    return _OK


def _read_database(app: AppState) -> tuple[str, str, str, Sequence[Row[Any]]]:
    try:
        with read_transaction(app.engine) as connection:
            living = connection.execute(select(relays).order_by(relays.c.seen.desc())).all()
            enrolled = hosts.page(connection, hosts.Wanted(0.0))
    except FedprocError as error:
        unknown = "not known while the database does not answer"
        return error.message, unknown, unknown, ()
    relay, broker = _relays(living, app.heartbeat_timeout)
    return _OK, relay, broker, enrolled


def _relays(rows: Sequence[Row[Any]], heartbeat_timeout: float) -> tuple[str, str]:
    now = time.time()
    living = [row for row in rows if row.seen > now - heartbeat_timeout]
    if not living:
        last = f"; the last was seen {now - rows[0].seen:.0f} s ago" if rows else ""
        return f"no relay runs{last}: start `fedproc relay`", "not known while no relay runs"
    return _OK, next((_OK for row in living if row.broker == _OK), living[0].broker or "not connected")


def _host(row: Row[Any], heartbeat_timeout: float) -> str:
    view = host_view(row, heartbeat_timeout)
    if row.heard is None:
        return "never heard of"
    if not view.alive:
        return f"silent for {time.time() - row.heard:.0f} s"
    return _OK if view.condition == "accepting" else f"{view.condition}: {view.condition_text}"
