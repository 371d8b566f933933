"""Deleting one experiment that has ended: with its jobs, messages, events, files and their bytes.

It is gone with the first transaction, in which the audit says so, too. The rest follows in portions; what a program
that dies leaves of it, whoever applies retention next deletes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from fedproc.central.db.engine import read_transaction, serialized_transaction, write_transaction
from fedproc.central.db.repositories import delegations, log_queue
from fedproc.central.db.repositories import experiments as rows
from fedproc.central.db.schema import (
    dead_letters,
    deletions,
    events,
    experiments,
    files,
    hosts,
    jobs,
    outbox,
    records,
    shared,
)
from fedproc.central.files import discards
from fedproc.central.retention.storage import BATCH, Storage, delete_where
from fedproc.central.tlog import entries
from fedproc.common.errors import ConflictError
from fedproc.contract.states import TERMINAL, ExperimentState


@dataclass(frozen=True)
class Deleted:
    """An experiment that was deleted; ``bytes`` of its files together."""

    experiment: str
    jobs: tuple[str, ...]
    files: int
    bytes: int

    def __str__(self) -> str:
        return f"{len(self.jobs)} jobs, {self.files} files, {self.bytes} bytes: {', '.join(self.jobs)}"


Record = Callable[[Connection, Deleted], object]
"""is called in the transaction with which the experiment is gone"""


def delete_experiment(
    storage: Storage, experiment: str, owner: str | None, now: float, record: Record
) -> tuple[Deleted, Iterator[int]]:
    """Delete an experiment of ``owner``, of anybody if None; what it was, and the portions that are left to be done.

    Raises :class:`NotFoundError`, and :class:`ConflictError` while it is open.
    """
    with serialized_transaction(storage.engine) as connection:
        row = rows.find(connection, experiment, owner)
        found = connection.execute(select(jobs.c.id, jobs.c.state).where(jobs.c.experiment == experiment)).all()
        if row.ended is None or any(job.state not in TERMINAL for job in found):
            raise ConflictError(
                f"experiment {experiment} has not ended yet: cancel it first, and delete it when its hosts have ended"
                " their jobs",
                code="conflict.open",
            )
        ids = tuple(sorted(job.id for job in found))
        count, size = connection.execute(
            select(func.count(), func.coalesce(func.sum(files.c.size), 0)).where(files.c.experiment == experiment)
        ).one()
        deleted = Deleted(experiment, ids, int(count), int(size))
        _keep_acceptance(connection, row)
        _remove_whole(connection, deleted, now)
        log_queue.add(connection, [entries.deleted(experiment, len(ids), deleted.files)])
        record(connection, deleted)
    return deleted, _rest(storage, experiment, ids, now)


def unfinished(storage: Storage, now: float) -> Iterator[int]:
    """Delete what programs that died have left of deleted experiments."""
    with read_transaction(storage.engine) as connection:
        left = connection.execute(select(deletions).order_by(deletions.c.begun)).all()
    for row in left:
        yield from _rest(storage, row.experiment, row.jobs, now)


def _keep_acceptance(connection: Connection, row: Row[Any]) -> None:
    """A host that was accepted by this experiment stays so without it."""
    of_it = update(hosts).where(hosts.c.acceptance == row.id)
    if row.state == ExperimentState.succeeded:
        connection.execute(of_it.values(accepted=True, acceptance=None))
    else:
        connection.execute(of_it.values(acceptance=None))


def _remove_whole(connection: Connection, deleted: Deleted, now: float) -> None:
    """What is looked at by experiment or job goes at once. A cancel that waits still tells its host to stop."""
    own = select(jobs.c.id).where(jobs.c.experiment == deleted.experiment)
    waiting = (outbox.c.sent.is_(None), outbox.c.kind != "cancel")
    connection.execute(delete(outbox).where(outbox.c.job.in_(own), *waiting))
    connection.execute(insert(deletions).values(experiment=deleted.experiment, jobs=list(deleted.jobs), begun=now))
    connection.execute(delete(jobs).where(jobs.c.experiment == deleted.experiment))
    delegations.forget(connection, deleted.experiment)
    connection.execute(delete(experiments).where(experiments.c.id == deleted.experiment))


def _rest(storage: Storage, experiment: str, ids: Collection[str], now: float) -> Iterator[int]:
    yield from _files(storage, experiment, now)
    yield from delete_where(storage, events, events.c.id, events.c.experiment == experiment)
    yield from delete_where(storage, shared, shared.c.id, shared.c.experiment == experiment)
    for start in range(0, len(ids), BATCH):
        portion = tuple(ids)[start : start + BATCH]
        yield from delete_where(storage, records, records.c.event, records.c.job.in_(portion))
        sent = outbox.c.job.in_(portion) & outbox.c.sent.is_not(None)
        yield from delete_where(storage, outbox, outbox.c.id, sent)
        yield from delete_where(storage, dead_letters, dead_letters.c.id, dead_letters.c.job.in_(portion))
    with write_transaction(storage.engine) as connection:
        connection.execute(delete(deletions).where(deletions.c.experiment == experiment))


def _files(storage: Storage, experiment: str, now: float) -> Iterator[int]:
    query = select(files.c.id).where(files.c.experiment == experiment).limit(BATCH)
    while True:
        with write_transaction(storage.engine) as connection:
            ids = connection.execute(query).scalars().all()
            remove_entries(connection, ids, now)
        discards.remove(storage.engine, storage.blobs, ids, now)
        yield len(ids)
        if len(ids) < BATCH:
            return


def remove_entries(connection: Connection, ids: Collection[str], now: float) -> None:
    """Delete these entries of files, and note that their bytes go with them."""
    discards.note(connection, ids, now)
    connection.execute(delete(files).where(files.c.id.in_(ids)))
