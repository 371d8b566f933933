"""After a restore or a loss: the host's list of open jobs against the centre's (docs/architecture.md, "Restores")."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from fedproc.central.db.schema import jobs, outbox
from fedproc.central.experiments import lost
from fedproc.contract.api.hosts import OpenJobsAnswer, OpenJobsReport
from fedproc.contract.states import TERMINAL, JobState
from fedproc.contract.wire.messages import OpenJobsRequest
from fedproc.contract.wire.open_jobs import OpenJob, open_jobs_digest

AGAIN_AFTER = 30.0
"""Seconds after which a job that was sent and is unknown to its host is sent again."""
GONE_AFTER = 600.0
"""Seconds for which a host that is asked for a job has neither named nor reported it; then it does not have it."""
_COMPARED: tuple[Any, ...] = (
    jobs.c.id,
    jobs.c.state,
    jobs.c.sequence,
    jobs.c.dispatched,
    jobs.c.start_by,
    jobs.c.missing_since,
)
_AT_HOST = [state for state in JobState if state not in TERMINAL and state is not JobState.queued]


def answer(connection: Connection, host: str, report: OpenJobsReport) -> OpenJobsAnswer:
    """What the host does with each of its open jobs, and which it should report (or get) again.

    Written for the same transaction: jobs that were lost on their way are put into the outbox again, and those that
    the host turns out not to have are ended.
    """
    reported = {entry.job: entry for entry in report.jobs}
    query = select(*_COMPARED).where(jobs.c.host == host, jobs.c.state.not_in(TERMINAL))
    known = {row.id: row for row in connection.execute(query) if row.id in reported}
    _note(connection, [row.id for row in known.values() if row.missing_since is not None], None)
    differing = {job: row for job, row in known.items() if _differs(row, reported[job])}
    for job, row in differing.items():
        _accept_earlier(connection, row, reported[job])
    return OpenJobsAnswer(
        keep=[job for job in reported if job in known],
        cancel=[job for job in reported if job not in known],
        resend=[job for job in reported if job in differing] + _missing(connection, host, reported, time.time()),
    )


def _differs(row: Row[Any], entry: OpenJob) -> bool:
    return bool(row.sequence != entry.sequence or row.state != entry.state)


def _accept_earlier(connection: Connection, row: Row[Any], entry: OpenJob) -> None:
    """Where a host's journal was put back to an earlier copy, its next snapshot counts all the same."""
    if row.sequence >= entry.sequence and row.state != entry.state:
        connection.execute(update(jobs).where(jobs.c.id == row.id).values(sequence=0))


def _missing(connection: Connection, host: str, reported: Collection[str], now: float) -> list[str]:
    """Jobs that the host should have and did not report; those that were lost on their way are sent again."""
    query = select(*_COMPARED).where(jobs.c.host == host, jobs.c.state.in_(_AT_HOST))
    missing = [row for row in connection.execute(query).all() if row.id not in reported]
    gone = {row.id for row in missing if _is_gone(row, now)}
    rows = [row for row in missing if row.id not in gone]
    _note(connection, [row.id for row in rows if row.missing_since is None], now)
    for row in rows:
        if row.state == JobState.dispatched and (row.dispatched or 0) < now - AGAIN_AFTER:
            _send_again(connection, row.id, now)
    _end_gone(connection, host, gone, now)
    return [row.id for row in rows]


def _is_gone(row: Row[Any], now: float) -> bool:
    """An order that its host does not have may still arrive, until the job may not start any more."""
    asked = row.missing_since is not None and row.missing_since < now - GONE_AFTER
    return asked and (row.state != JobState.dispatched or row.start_by < now)


def _end_gone(connection: Connection, host: str, gone: Collection[str], now: float) -> None:
    if gone:
        rows = connection.execute(select(jobs).where(jobs.c.id.in_(gone)).order_by(jobs.c.id)).all()
        reason = f"host {host} was asked for this job and does not have it; start the experiment again"
        lost.end_jobs(connection, rows, lost.CODE, reason, now)


def _note(connection: Connection, ids: Collection[str], missing_since: float | None) -> None:
    if ids:
        connection.execute(update(jobs).where(jobs.c.id.in_(ids)).values(missing_since=missing_since))


def _send_again(connection: Connection, job: str, now: float) -> None:
    values = {"sent": None, "claimed": None, "claimed_by": None}
    where = (outbox.c.job == job) & (outbox.c.sent.is_not(None))
    connection.execute(update(outbox).where(where).values(**values))
    connection.execute(update(jobs).where(jobs.c.id == job).values(dispatched=now))


def host_digest(connection: Connection, host: str) -> str:
    """The digest of the jobs that are open on the host, as the centre has it."""
    query = select(jobs.c.id, jobs.c.state).where(jobs.c.host == host, jobs.c.state.in_(_AT_HOST))
    return open_jobs_digest([(row.id, row.state) for row in connection.execute(query)])


def request_open_jobs(connection: Connection, host: str, now: float) -> None:
    """Put the request for the host's list of open jobs into the outbox."""
    message = OpenJobsRequest(host=host).model_dump(mode="json")
    connection.execute(insert(outbox).values(job="", host=host, kind="inventory", message=message, created=now))
