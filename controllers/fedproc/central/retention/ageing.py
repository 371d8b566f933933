"""How what is too old is found and deleted, kind by kind: oldest first, in portions, without a search of the whole.

Each function yields how many rows each of its transactions has deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, Select, Table, delete, select

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import audits
from fedproc.central.db.schema import enrolments, experiments, files, hosts, jobs, records, submissions
from fedproc.central.files import discards
from fedproc.central.retention.deletion import delete_experiment, remove_entries
from fedproc.central.retention.storage import BATCH, Span, Storage
from fedproc.central.retention.trail import ACTOR, Trail
from fedproc.common.errors import ConflictError, LockedError, NotFoundError
from fedproc.common.log import get_logger
from fedproc.contract.states import TERMINAL

log = get_logger(__name__)

Remover = Callable[[Storage, Span, Trail], Iterator[int]]

_ON_THEIR_WAY = 3600.0
"""seconds after a job's end in which its records may still come again"""


def rows_older(table: Table, moment: Column[float], stays: ColumnElement[bool]) -> Remover:
    """Of a table that only grows: its ``id`` grows with the time ``moment``, so the search ends at what is young.

    A row stays while ``stays`` is true of it.
    """
    columns: Select[Any] = select(table.c.id, moment.label("moment"), stays.label("stays"))
    columns = columns.order_by(table.c.id).limit(BATCH)

    def remove(storage: Storage, span: Span, trail: Trail) -> Iterator[int]:
        after = 0
        while True:
            with write_transaction(storage.engine) as connection:
                rows = connection.execute(columns.where(table.c.id > after)).all()
                ids = [row.id for row in rows if row.moment < span.cutoff and not row.stays]
                connection.execute(delete(table).where(table.c.id.in_(ids)))
                trail.note(connection, ids)
            yield len(ids)
            if len(rows) < BATCH or _reaches_young(rows, span):
                return
            after = rows[-1].id

    return remove


def _reaches_young(rows: Sequence[Row[Any]], span: Span) -> bool:
    """Whether what follows is younger; a time to come is that of a clock that was wrong, and says nothing."""
    return any(span.cutoff <= row.moment <= span.now for row in rows)


def ended_experiments(storage: Storage, span: Span, trail: Trail) -> Iterator[int]:
    """Whole experiments, an entry in the audit for each."""
    columns: Select[Any] = select(experiments.c.id, experiments.c.created.label("moment"), experiments.c.ended)
    after = ""
    while True:
        with read_transaction(storage.engine) as connection:
            query = columns.where(experiments.c.id > after).order_by(experiments.c.id).limit(BATCH)
            rows = connection.execute(query).all()
        for row in rows:
            if row.ended is not None and row.ended < span.cutoff:
                yield from _one_experiment(storage, row.id, span, trail)
        if len(rows) < BATCH or _reaches_young(rows, span):
            return
        after = rows[-1].id


def _one_experiment(storage: Storage, experiment: str, span: Span, trail: Trail) -> Iterator[int]:
    def record(connection: Any, deleted: object) -> None:
        audits.add(connection, ACTOR, "expire_experiments", experiment, str(deleted), span.now)

    try:
        _, rest = delete_experiment(storage, experiment, None, span.now, record)
    except (ConflictError, NotFoundError):
        return  # its owner came first, or its books do not say that its jobs have ended
    trail.removed += 1
    yield 1
    yield from rest


def own_files(storage: Storage, span: Span, trail: Trail) -> Iterator[int]:
    """Complete files that belong to no experiment."""
    yield from _entries(storage, span, trail, files.c.job.is_(None) & (files.c.state == "complete"))


def unfinished_uploads(storage: Storage, span: Span, trail: Trail) -> Iterator[int]:
    """Entries whose bytes stopped coming. What an open job may still send stays."""
    is_open = select(jobs.c.id).where(jobs.c.id == files.c.job, jobs.c.state.not_in(TERMINAL)).exists()
    yield from _entries(storage, span, trail, (files.c.state == "pending") & ~is_open)


def _entries(storage: Storage, span: Span, trail: Trail, which: ColumnElement[bool]) -> Iterator[int]:
    after = ""
    while True:
        query = select(files.c.id).where(which, files.c.created < span.cutoff, files.c.id > after)
        with read_transaction(storage.engine) as connection:
            found = connection.execute(query.order_by(files.c.id).limit(BATCH)).scalars().all()
        old = [file for file in found if _is_at_rest(storage, file, span)]
        with write_transaction(storage.engine) as connection:
            ids = connection.execute(select(files.c.id).where(which, files.c.id.in_(old))).scalars().all()
            remove_entries(connection, ids, span.now)
            trail.note(connection, sorted(ids))
        discards.remove(storage.engine, storage.blobs, ids, span.now)
        yield len(ids)
        if len(found) < BATCH:
            return
        after = found[-1]


def _is_at_rest(storage: Storage, file: str, span: Span) -> bool:
    """Whether no byte has come of late, and nobody sends any just now."""
    try:
        changed = storage.blobs.changed(file)
        if changed is not None and span.cutoff <= changed <= span.now:
            return False
        with storage.blobs.locked(file):
            return True
    except NotFoundError:
        return True
    except LockedError:
        return False
    except OSError as error:
        log.warning("retention.bytes_stay", name=file, reason=str(error))
        return False


def ingested_records(storage: Storage, span: Span, trail: Trail) -> Iterator[int]:
    """Records of jobs that have ended, or that are not there any more; one job after the other."""
    cutoff, after = min(span.cutoff, span.now - _ON_THEIR_WAY), ""
    while True:
        with write_transaction(storage.engine) as connection:
            query = select(records.c.job).where(records.c.job > after).order_by(records.c.job).limit(1)
            job = connection.scalar(query)
            row = connection.execute(select(jobs.c.ended).where(jobs.c.id == job)).one_or_none()
            found: Sequence[int] = ()
            if row is None or (row.ended is not None and row.ended < cutoff):
                of_job = select(records.c.event).where(records.c.job == job).limit(BATCH)
                found = connection.execute(of_job).scalars().all()
            connection.execute(delete(records).where(records.c.job == job, records.c.event.in_(found)))
            trail.note(connection, [job] * len(found))
        yield len(found)
        if job is None:
            return
        after = after if len(found) == BATCH else job


def decided_enrolments(storage: Storage, span: Span, trail: Trail) -> Iterator[int]:
    """What led to no host, or to one that has left; what made a host of today one stays."""
    active = select(hosts.c.id).where(hosts.c.id == enrolments.c.host, hosts.c.active).exists()
    old = (enrolments.c.expires < span.cutoff) & ((enrolments.c.decided < span.cutoff) | enrolments.c.decided.is_(None))
    over = old & ~(active & (enrolments.c.state == "confirmed")) & (enrolments.c.state != "requested")
    with write_transaction(storage.engine) as connection:
        ids = connection.execute(select(enrolments.c.host).where(over).order_by(enrolments.c.host)).scalars().all()
        connection.execute(delete(enrolments).where(enrolments.c.host.in_(ids)))
        trail.note(connection, ids)
    yield len(ids)


def decided_submissions(storage: Storage, span: Span, trail: Trail) -> Iterator[int]:
    """Tools that were sent in; what waits for a decision stays, and what was published is in the catalogue."""
    over = select(submissions.c.id).where(submissions.c.decided < span.cutoff).order_by(submissions.c.id).limit(BATCH)
    while True:
        with write_transaction(storage.engine) as connection:
            ids = connection.execute(over).scalars().all()
            connection.execute(delete(submissions).where(submissions.c.id.in_(ids)))
            trail.note(connection, ids)
        yield len(ids)
        if len(ids) < BATCH:
            return
