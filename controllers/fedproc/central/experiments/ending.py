"""The terminal states that the centre may write."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, update

from fedproc.central.db.repositories import events
from fedproc.central.db.schema import jobs, outbox
from fedproc.contract.states import TERMINAL, JobState


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
