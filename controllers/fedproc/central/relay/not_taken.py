"""Orders that the broker did not take: no host has them, though their jobs are ``dispatched``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from fedproc.central.db.repositories import shared
from fedproc.central.db.schema import jobs, outbox
from fedproc.central.experiments import orders
from fedproc.central.experiments.advance import advance
from fedproc.central.experiments.ending import IS_NOT_TAKEN, end_job
from fedproc.contract.states import JobState
from fedproc.contract.wire.messages import Cancel


def put_back(connection: Connection, found: Mapping[int, str], now: float) -> bool:
    """Let these rows of the outbox, each with its job, be claimed by nobody; whether a job was ended.

    What was cancelled while its order was under way ends here: its host never hears of it.
    """
    free = {"claimed": None, "claimed_by": None}
    connection.execute(update(outbox).where(outbox.c.id.in_(list(found)), outbox.c.sent.is_(None)).values(**free))
    query: Any = select(jobs.c.id, jobs.c.experiment, jobs.c.host, jobs.c.task, jobs.c.told)
    rows = connection.execute(query.where(jobs.c.id.in_({*found.values()}), IS_NOT_TAKEN).order_by(jobs.c.id)).all()
    cancelled = [row for row in rows if "cancel" in row.told]
    for row in cancelled:
        message = _cancel_of(connection, row.id)
        end_job(connection, row, JobState.cancelled, message.code, message.reason, now)
    _go_on(connection, {row.experiment for row in cancelled}, now)
    return bool(cancelled)


def _cancel_of(connection: Connection, job: str) -> Cancel:
    """The message that cancels it, as its host would have got it."""
    query = select(outbox.c.message, outbox.c.shared).where(outbox.c.job == job, outbox.c.kind == "cancel")
    row = connection.execute(query.order_by(outbox.c.id).limit(1)).first()
    if row is None:
        return Cancel(job=job)
    parts = shared.read(connection, {*(row.shared or ())})
    return Cancel.model_validate(orders.whole(row.message, [parts[part] for part in row.shared or ()]))


def _go_on(connection: Connection, experiments: Collection[str], now: float) -> None:
    for experiment in sorted(experiments):
        advance(connection, experiment, now)
