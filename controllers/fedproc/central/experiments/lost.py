"""Jobs that their hosts will not end any more: the centre ends them, and tells a host that comes back to stop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from fedproc.central.db.schema import experiments, hosts, jobs, outbox
from fedproc.central.experiments.advance import advance
from fedproc.central.experiments.ending import end_job
from fedproc.common.errors import ConflictError
from fedproc.contract.states import TERMINAL, JobState
from fedproc.contract.wire.messages import Cancel

CODE = "lost"
_AT_HOST = [state for state in JobState if state not in TERMINAL and state is not JobState.queued]
_APART = 60.0
"""seconds by which relays' clocks may differ; what was heard later than now was noted by a clock that was set back"""
_LOST_AFTER = experiments.c.request["lost_after"].as_float()
_SILENT = (
    select(jobs)
    .join(experiments, experiments.c.id == jobs.c.experiment)
    .join(hosts, hosts.c.id == jobs.c.host)
    .order_by(jobs.c.id)
)


def end_jobs(connection: Connection, rows: Sequence[Row[Any]], code: str, reason: str, now: float) -> None:
    """End these open jobs at once: ``cancelled`` what no host has yet, the others ``lost``; then go on from there."""
    for row in rows:
        unclaimed = row.state == JobState.queued
        end_job(connection, row, JobState.cancelled if unclaimed else JobState.lost, code, reason, now)
        connection.execute(delete(outbox).where(outbox.c.job == row.id, outbox.c.sent.is_(None)))
        if not unclaimed:
            _tell_host(connection, row, Cancel(job=row.id, code=code, reason=reason), now)
    for experiment in sorted({row.experiment for row in rows}):
        advance(connection, experiment, now)


def _tell_host(connection: Connection, row: Row[Any], message: Cancel, now: float) -> None:
    body = message.model_dump(mode="json", exclude_defaults=True)
    connection.execute(insert(outbox).values(job=row.id, host=row.host, kind="cancel", message=body, created=now))
    connection.execute(update(jobs).where(jobs.c.id == row.id).values(told=[*row.told, "cancel"]))


def end_for_operator(connection: Connection, experiment: str, only: Collection[str], reason: str, now: float) -> None:
    """End the experiment's open jobs, or ``only`` those of these ids.

    Raises :class:`ConflictError` if there is none, or if one of them is not open.
    """
    query = select(jobs).where(jobs.c.experiment == experiment, jobs.c.state.not_in(TERMINAL)).order_by(jobs.c.id)
    rows = connection.execute(query.with_for_update()).all()
    if not rows:
        raise ConflictError(f"experiment {experiment} has already ended", code="conflict.ended")
    if ended := sorted(set(only) - {row.id for row in rows}):
        raise ConflictError(f"{ended[0]} is no open job of experiment {experiment}", code="conflict.ended")
    chosen = [row for row in rows if not only or row.id in only]
    end_jobs(connection, chosen, CODE, f"ended by the federation's operator: {reason}", now)


def end_silent(connection: Connection, listening: float, now: float, sure: Callable[[], bool]) -> bool:
    """End jobs whose host was silent for as long as their experiment's ``lost_after`` says; whether there were any.
    None is ended unless ``sure`` says that ``now`` is right.

    ``listening``: since when the caller hears hosts. What was said before may have met nobody, and is no silence.
    """
    since = (func.coalesce(hosts.c.heard, 0.0), func.coalesce(jobs.c.dispatched, 0.0))
    over = (or_(now - moment > _LOST_AFTER, moment > now + _APART) for moment in since)
    silent = _SILENT.where(jobs.c.state.in_(_AT_HOST), now - listening > _LOST_AFTER, *over)
    rows = connection.execute(silent).all()
    if not rows or not sure():
        return False
    for row in rows:
        end_jobs(connection, [row], CODE, f"host {row.host} was not heard of for longer than the experiment waits", now)
    return True
