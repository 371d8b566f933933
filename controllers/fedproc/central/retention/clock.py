"""Whether the centre's clock may be gone by. By one that is years ahead everything is too old to be kept, every job's
deadline is past, and every host was silent for years: what ends by it has gone for good.

It is held against the clocks of others: of the hosts, as their heartbeats tell them, and of PostgreSQL, which may run
on another machine. While they say that it is wrong, nothing ends by it; nor does it when the clock has leapt, until a
host confirms it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text

from fedproc.central.db.engine import is_sqlite
from fedproc.central.db.schema import hosts
from fedproc.central.retention import figures
from fedproc.common.log import get_logger

log = get_logger(__name__)

DAY = 86_400.0
APART = DAY
"""seconds by which clocks may differ, and which a day's silence of a host explains"""
_JUST_NOW = 3600.0
"""seconds within which a host was heard of, by this clock: it was so since the clock stands as it does"""
_NEAR = 300.0
"""seconds by which a host's clock may differ that confirms a leap of less than a day"""
_BEATS = select(hosts.c.heard, hosts.c.heartbeat).where(hosts.c.active, hosts.c.heard.is_not(None))
_OF_DATABASE = text("SELECT extract(epoch FROM clock_timestamp())")


@dataclass(frozen=True)
class Doubt:
    """Why nothing ends by the centre's clock. ``passes``: nobody can be asked; a day's patience will do."""

    reason: str
    passes: bool = False


@dataclass(frozen=True)
class _Witnesses:
    """How many active hosts that were ever heard of have a clock like the centre's, or by a fresh word another one."""

    known: int
    confirm: int
    contradict: int


class Doubts:
    """Has one daemon wait while the clock is doubted, and says so once for each reason, as the log's ``event``.

    ``what`` does not happen meanwhile; ``elapsed`` counts seconds, however clocks are set.
    """

    def __init__(self, event: str, what: str, elapsed: Callable[[], float]) -> None:
        self._event = event
        self._what = what
        self._elapsed = elapsed
        self._waits_until: float | None = None
        """by ``elapsed``; since the clock was first doubted"""
        self._reason: str | None = None

    def hold(self, found: Doubt | None) -> bool:
        """Whether nothing may end by the clock now, of which this was found."""
        if found is None:
            self._waits_until = self._reason = None
            return False
        if self._waits_until is None:
            self._waits_until = self._elapsed() + DAY
        if found.passes and self._elapsed() >= self._waits_until:
            return False
        if found.reason != self._reason:
            until = "for a day" if found.passes else "until the doubt is gone"
            cure = f"{self._what} {until}; see that the centre's clock is right (timedatectl)"
            log.error(self._event, reason=f"the centre's clock: {found.reason}", cure=cure)
            self._reason = found.reason
        return True


def doubt(connection: Connection, now: float, leapt: float | None = None) -> Doubt | None:
    """None if what is over at ``now``, in seconds since 1970, may be ended.

    ``leapt``: since when the clock is as it is, where the caller saw it leap, though by less than a day. Then what
    counts is the word of hosts that were heard of since.
    """
    if (apart := now - _of_database(connection, now)) and abs(apart) > APART:
        return Doubt(f"it is {_days(apart)} the database's")
    rows = connection.execute(_BEATS).all()
    found = _witnesses(rows, now)
    if found.contradict > found.confirm:
        return Doubt(f"it is not that of {found.contradict} of {found.known} hosts, by a day and more")
    if found.confirm or not (leap := _leap(connection, now, found.known)):
        return None if leapt is None else _since_leap(rows, now, leapt)
    if found.known:
        return Doubt(f"it {leap}, and no host confirms it: hosts that are gone for good have to be revoked")
    return Doubt(f"it {leap}, and there is no host to confirm it", passes=True)


def _since_leap(rows: Sequence[Any], now: float, leapt: float) -> Doubt | None:
    """By hosts whose own clocks were near or far from this one when they were heard of."""
    beats = [row for row in rows if row.heartbeat is not None and leapt <= row.heard <= now]
    near = sum(abs(_time_of(row) - row.heard) <= _NEAR for row in beats)
    if len(beats) > 2 * near:
        return Doubt(f"it leapt, and is not that of {len(beats) - near} of {len(beats)} hosts heard of since")
    return None if near else Doubt("it leapt, and no host has confirmed it since", passes=True)


def _witnesses(rows: Iterable[Any], now: float) -> _Witnesses:
    known = confirm = contradict = 0
    for row in rows:
        known += 1
        if row.heartbeat is not None and abs(_time_of(row) - now) <= APART:
            confirm += 1
        elif abs(row.heard - now) <= _JUST_NOW:
            contradict += 1
    return _Witnesses(known, confirm, contradict)


def _time_of(row: Any) -> float:
    """By its host's own clock, in seconds since 1970."""
    return datetime.fromisoformat(row.heartbeat["time"]).timestamp()


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
