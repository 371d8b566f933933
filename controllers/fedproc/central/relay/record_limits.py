"""How much of one job's records is kept, whatever its host says: in number, in bytes, and for how long."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, select

from fedproc.central.db.schema import records
from fedproc.contract.wire.limits import MIB
from fedproc.contract.wire.messages import Record

RECORDS_KEPT = 20_000
"""of each stream of a job: as many as a host tells; one that tells more is not heard"""
RECORDS_BYTES = 64 * MIB
"""of each stream of a job"""
SMALL = 2_048
"""bytes of a record that is bounded by the number alone"""
AFTER_END_SECONDS = 600.0
"""how long after a job's end its records are kept: what was on its way then has come by that time"""


def admits(connection: Connection, job: Row[Any], record: Record, size: int, now: float) -> bool:
    """Whether a record of a job, with ``size`` bytes, may be kept.

    The epoch is a text that the host chooses: other epochs than the job's share one bound.
    """
    if job.ended is not None and now > job.ended + AFTER_END_SECONDS:
        return False
    of_stream = (records.c.job == record.job) & (records.c.stream == record.stream)
    if record.epoch != job.epoch:
        if (connection.scalar(select(func.count()).where(of_stream)) or 0) >= RECORDS_KEPT:
            return False
    elif record.sequence > RECORDS_KEPT:
        return False
    if size <= SMALL:
        return True
    kept = connection.scalar(select(func.coalesce(func.sum(records.c.size), 0)).where(of_stream)) or 0
    return bool(kept + size <= RECORDS_BYTES)
