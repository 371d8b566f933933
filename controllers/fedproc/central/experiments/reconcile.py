"""After a restore or a loss: the host's list of open jobs against the centre's books (DESIGN.md, "Restores")."""

from __future__ import annotations

import time

from sqlalchemy import Connection, insert, select, update

from fedproc.central.db.schema import jobs, outbox
from fedproc.contract.api.hosts import Inventory, InventoryAnswer
from fedproc.contract.states import TERMINAL, JobState
from fedproc.contract.wire.messages import AskInventory, open_jobs_digest

AGAIN_AFTER = 30.0
"""Seconds after which a job that was sent and is unknown to its host is sent again."""
_AT_HOST = [state for state in JobState if state not in TERMINAL and state is not JobState.queued]


def answer(connection: Connection, host: str, inventory: Inventory) -> InventoryAnswer:
    """What the host does with each of its open jobs, and which it should report (or get) again.

    Written for the same transaction: jobs that were lost on their way are put into the outbox again.
    """
    now = time.time()
    told = {entry.job: entry for entry in inventory.jobs}
    known = {row.id: row for row in connection.execute(select(jobs).where(jobs.c.id.in_(told), jobs.c.host == host))}
    keep, cancel, resend = [], [], []
    for job, entry in told.items():
        row = known.get(job)
        if row is None or row.state in TERMINAL:
            cancel.append(job)
            continue
        keep.append(job)
        if row.sequence != entry.sequence or row.state != entry.state:
            resend.append(job)
        if row.sequence >= entry.sequence and row.state != entry.state:  # a journal put back to an earlier copy
            connection.execute(update(jobs).where(jobs.c.id == job).values(sequence=0))
    missing = select(jobs).where(jobs.c.host == host, jobs.c.state.in_(_AT_HOST), jobs.c.id.not_in(told))
    for row in connection.execute(missing).all():
        resend.append(row.id)
        if row.state == JobState.dispatched and (row.dispatched or 0) < now - AGAIN_AFTER:
            _send_again(connection, row.id, now)
    return InventoryAnswer(keep=keep, cancel=cancel, resend=resend)


def _send_again(connection: Connection, job: str, now: float) -> None:
    values = {"sent": None, "claimed": None, "claimed_by": None}
    where = (outbox.c.job == job) & (outbox.c.sent.is_not(None))
    connection.execute(update(outbox).where(where).values(**values))
    connection.execute(update(jobs).where(jobs.c.id == job).values(dispatched=now))


def books(connection: Connection, host: str) -> str:
    """The digest of the jobs that are open on the host, as the centre has it."""
    query = select(jobs.c.id, jobs.c.state).where(jobs.c.host == host, jobs.c.state.in_(_AT_HOST))
    return open_jobs_digest([(row.id, row.state) for row in connection.execute(query)])


def ask(connection: Connection, host: str, now: float) -> None:
    """Put the question for the host's inventory into the outbox."""
    message = AskInventory(host=host).model_dump(mode="json")
    connection.execute(insert(outbox).values(job="", host=host, kind="inventory", message=message, created=now))
