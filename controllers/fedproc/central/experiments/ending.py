"""The terminal states that the centre may write."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, and_, delete, select, update

from fedproc.central.db.repositories import events
from fedproc.central.db.schema import jobs, outbox
from fedproc.contract.states import TERMINAL, JobState

IS_NOT_TAKEN = and_(
    jobs.c.state == JobState.dispatched,
    select(outbox.c.id)
    .where(outbox.c.job == jobs.c.id, outbox.c.kind == "job")
    .where(outbox.c.sent.is_(None), outbox.c.claimed.is_(None), outbox.c.sha256.is_(None))
    .exists(),
)
"""Of a row of jobs: the broker did not take its order, so that no host has it. An order that is under way is claimed,
and one that was sent before has the hash of what was sent."""


def end_job(connection: Connection, job: Row[Any], state: JobState, code: str, reason: str, now: float) -> None:
    """Write a terminal state that the centre may write (docs/architecture.md, "One writer per terminal state").

    An order that has not gone to the host goes no more.
    """
    values = {"state": state, "code": code, "reason": reason, "ended": now}
    still = jobs.c.state.not_in(TERMINAL)
    if connection.execute(update(jobs).where(jobs.c.id == job.id, still).values(**values)).rowcount:
        unsent = (outbox.c.job == job.id, outbox.c.kind == "job", outbox.c.sent.is_(None))
        connection.execute(delete(outbox).where(*unsent))
        events.add_state(connection, job, state, code, reason, now)
