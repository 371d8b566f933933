"""Whether the centre's clock may be deleted by. By one that is years ahead everything is too old, and gone for good.

It is held against the clocks of others: of the hosts, as their heartbeats tell them, and of PostgreSQL, which may run
on another machine. While they say that it is wrong, nothing is deleted; nor is it when the clock has leapt, until a
host confirms it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, text

from fedproc.central.db.engine import is_sqlite
from fedproc.central.db.schema import hosts
from fedproc.central.retention import figures

DAY = 86_400.0
APART = DAY
"""seconds by which clocks may differ, and which a day's silence of a host explains"""
_JUST_NOW = 3600.0
"""seconds within which a host was heard of, by this clock: it was so since the clock stands as it does"""
_BEATS = select(hosts.c.heard, hosts.c.heartbeat).where(hosts.c.active, hosts.c.heard.is_not(None))
_OF_DATABASE = text("SELECT extract(epoch FROM clock_timestamp())")


@dataclass(frozen=True)
class Doubt:
    """Why nothing is deleted by the centre's clock. ``passes``: nobody can be asked; a day's patience will do."""

    reason: str
    passes: bool = False


@dataclass(frozen=True)
class _Witnesses:
    """How many active hosts that were ever heard of have a clock like the centre's, or by a fresh word another one."""

    known: int
    confirm: int
    contradict: int


def doubt(connection: Connection, now: float) -> Doubt | None:
    """None if what is too old at ``now``, in seconds since 1970, may be deleted."""
    if (apart := now - _of_database(connection, now)) and abs(apart) > APART:
        return Doubt(f"it is {_days(apart)} the database's")
    found = _witnesses(connection.execute(_BEATS), now)
    if found.contradict > found.confirm:
        return Doubt(f"it is not that of {found.contradict} of {found.known} hosts, by a day and more")
    if found.confirm or not (leap := _leap(connection, now, found.known)):
        return None
    if found.known:
        return Doubt(f"it {leap}, and no host confirms it: hosts that are gone for good have to be revoked")
    return Doubt(f"it {leap}, and there is no host to confirm it", passes=True)


def _witnesses(rows: Iterable[Row[Any]], now: float) -> _Witnesses:
    known = confirm = contradict = 0
    for row in rows:
        known += 1
        if row.heartbeat is not None and abs(datetime.fromisoformat(row.heartbeat["time"]).timestamp() - now) <= APART:
            confirm += 1
        elif abs(row.heard - now) <= _JUST_NOW:
            contradict += 1
    return _Witnesses(known, confirm, contradict)


def _leap(connection: Connection, now: float, known: int) -> str | None:
    """How the clock stands to when retention was last applied: it is, once an hour."""
    last = figures.last_time(connection)
    if last is None:
        return "was never deleted by" if known else None
    return None if abs(now - last) <= APART else f"is {_days(now - last)} when it was last deleted by"


def _of_database(connection: Connection, now: float) -> float:
    return now if is_sqlite(connection.engine) else float(connection.scalar(_OF_DATABASE) or now)


def _days(seconds: float) -> str:
    return f"{abs(seconds) / DAY:.1f} days {'after' if seconds > 0 else 'before'}"
