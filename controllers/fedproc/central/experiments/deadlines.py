"""What ends by the clock at the centre: ``expired`` if never claimed, ``lost`` if never heard of again."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from sqlalchemy import Connection, select, update

from fedproc.central.db.repositories import events
from fedproc.central.db.schema import jobs, outbox
from fedproc.central.experiments import lost
from fedproc.central.experiments.advance import advance
from fedproc.central.experiments.ending import IS_NOT_TAKEN, end_job
from fedproc.contract.states import TERMINAL, JobState

GRACE_SECONDS = 120.0
"""after the last deadline, for what is still on its way"""
_NEVER_SENT = "it could not be dispatched before its deadline"
_NOT_TAKEN = "its host's queue at the broker was full or missing until its deadline; the host never had it"


def pass_deadlines(
    connection: Connection, now: float, listening: float | None = None, sure: Callable[[], bool] = lambda: True
) -> bool:
    """End what is over; says whether anything was.

    ``listening``: since when the caller hears hosts; None: it hears none, and no host's silence counts. ``sure`` is
    asked, where something is over, whether ``now`` is right: if not, it stays open.
    """
    sure = cache(sure)
    changed = {*_expire(connection, now, sure), *_mark_lost(connection, now, sure)}
    for experiment in sorted(changed):
        advance(connection, experiment, now)
    silent = listening is not None and lost.end_silent(connection, listening, now, sure)
    return bool(changed) or silent


def _expire(connection: Connection, now: float, sure: Callable[[], bool]) -> list[str]:
    claimed = select(outbox.c.id).where(outbox.c.job == jobs.c.id, outbox.c.claimed.is_not(None)).exists()
    free = (jobs.c.state == JobState.queued) & ~claimed
    query = select(jobs).where(free | IS_NOT_TAKEN, jobs.c.start_by < now)
    rows = connection.execute(query.with_for_update()).all()
    if not rows or not sure():
        return []
    for row in rows:
        connection.execute(outbox.delete().where(outbox.c.job == row.id))
        reason = _NEVER_SENT if row.state == JobState.queued else _NOT_TAKEN
        values = {"state": JobState.expired, "code": "expired", "reason": reason, "ended": now}
        connection.execute(update(jobs).where(jobs.c.id == row.id).values(**values))
        events.add_state(connection, row, JobState.expired, "expired", reason, now)
    return [row.experiment for row in rows]


def _mark_lost(connection: Connection, now: float, sure: Callable[[], bool]) -> list[str]:
    open_states = [s for s in JobState if s not in TERMINAL and s is not JobState.queued]
    query = select(jobs).where(jobs.c.state.in_(open_states), jobs.c.release_by < now - GRACE_SECONDS)
    rows = connection.execute(query).all()
    if not rows or not sure():
        return []
    for row in rows:
        reason = f"host {row.host} was not heard of until after the job's last deadline"
        end_job(connection, row, JobState.lost, "lost", reason, now)
    return [row.experiment for row in rows]
