"""After a restart: what the journalled jobs hold is held again, before any of them goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from fedproc.common.errors import SystemFaultError
from fedproc.common.log import get_logger
from fedproc.contract.states import JobState
from fedproc.contract.times import now
from fedproc.site.jobs.record import EndStep, JobRecord
from fedproc.site.jobs.resources.pool import Pool
from fedproc.site.jobs.resources.shares import GpuMissingError, Share
from fedproc.site.jobs.verdict import Verdict, verdict_of

log = get_logger(__name__)

_OVER = (JobState.collecting, JobState.awaiting_release)


def adopt_shares(pool: Pool, records: Iterable[JobRecord]) -> tuple[dict[str, Verdict], set[str]]:
    """Have each job hold in ``pool`` what its record says; returns the verdicts of those that run and cannot, by job,
    and the jobs that have to give a share up, since they cannot have it.

    Of two jobs that claim a GPU the one that runs has it, or the older one. A job that has not started waits for
    another share, but not before its executor has forgotten it: the daemon before may have started it, and not noted
    that. One that runs goes on though its GPU is not in the sample: the driver may be silent for a moment, and if the
    GPU is gone, the tool itself will fail.
    """
    verdicts: dict[str, Verdict] = {}
    lost: set[str] = set()
    for record in sorted(records, key=_precedence):
        running = _may_run(record)
        try:
            _adopt(pool, record)
        except SystemFaultError as error:
            log.error("job.share_lost", job=record.job, state=record.state.value, reason=error.message)
            if not running:
                lost.add(record.job)
            elif not isinstance(error, GpuMissingError):
                verdicts[record.job] = verdict_of(error)
    return verdicts, lost


def _may_run(record: JobRecord) -> bool:
    """Whether there may be processes of it: also of one that was told to have ended, before they were known to be."""
    stopping = record.remaining is not None and EndStep.processes in record.remaining
    return record.state is JobState.running or (stopping and record.share is not None)


def _precedence(record: JobRecord) -> tuple[bool, datetime]:
    runs = _may_run(record)
    since = record.times.get(JobState.running) if runs else record.times.get(JobState.accepted)
    return not runs, since or now()


def _adopt(pool: Pool, record: JobRecord) -> None:
    if record.share is None and record.state is not JobState.running:
        return
    if record.remaining is not None and EndStep.share not in record.remaining:
        return
    share = Share.from_json(record.share or {})
    deadlines = record.order.deadlines
    until = record.share_until or deadlines.end_by
    if record.state in _OVER:  # its processes are gone
        share, until = replace(share, cpus=0.0, memory=0, gpus=()), deadlines.release_by
    pool.adopt(record.job, share, (until - now()).total_seconds())
