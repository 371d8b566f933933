"""Records of the journal, read again. One that cannot be read keeps nothing else from going on.

It is set aside in the journal, its job never runs here any more, and the centre is told as far as can be: the job ends
there as ``error`` with ``journal_lost``, as do the jobs of a journal that is gone.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import ValidationError

from fedproc.common.log import get_logger
from fedproc.contract.ids import EXPERIMENT_PATTERN, JOB_PATTERN
from fedproc.contract.states import JobState
from fedproc.contract.wire.messages import Snapshot
from fedproc.site.executors.base import Handle
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.journal import JournalError

log = get_logger(__name__)

_LAST = 1 << 30
"""the sequence of a snapshot after which none of its job comes: how many came before cannot be read"""
_EXPERIMENT = re.compile(r'"experiment"\s*:\s*"(' + EXPERIMENT_PATTERN.strip("^$") + ")")
_JOB = re.compile(JOB_PATTERN)
_STEPS = 16


async def open_records(services: Services) -> tuple[list[JobRecord], dict[str, list[Handle]]]:
    """The records of all open jobs; and of those that were set aside, by job, what the executor may know.

    What is kept under something else than a job's id is set aside, too, and never becomes the name of a folder.
    """
    records: list[JobRecord] = []
    lost: dict[str, list[Handle]] = {}
    for job, text in await services.journal.open_jobs():
        record = await _read(services, job, text)
        if record is not None:
            records.append(record)
        elif _JOB.fullmatch(job):
            lost[job] = _handles(job, text)
    return records, lost


async def record_of(services: Services, job: str) -> JobRecord | None:
    """What the journal knows of a job, ended ones included; None if that is nothing, or cannot be read."""
    text = await services.journal.known_text(job)
    return None if text is None else await _read(services, job, text)


async def _read(services: Services, job: str, text: str) -> JobRecord | None:
    try:
        text.encode()  # bytes that are no UTF-8 came as halves of surrogate pairs
        record = JobRecord.model_validate_json(text)
    except (ValidationError, ValueError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    else:
        if record.job == job:
            return record
        reason = f"it is the record of {record.job}"
    await _set_aside(services, job, text, reason)
    return None


async def _set_aside(services: Services, job: str, text: str, reason: str) -> None:
    reason = reason.encode(errors="replace").decode()
    log.error(
        "journal.record_unreadable",
        job=job.encode(errors="replace").decode(),
        reason=reason,
        cure=f"nothing here; it is kept in the table 'unreadable' of {services.journal.path}, for whoever looks why",
    )
    try:
        await services.journal.set_aside(job, reason, _events(services, job, text))
    except JournalError as error:  # a disk that takes nothing now: it is met again at the next start
        log.error("journal.not_written", job=job, reason=error.message)


def _events(services: Services, job: str, text: str) -> list[tuple[str, str]]:
    """What the centre takes for the job's end; nothing if its experiment cannot be read. It then asks, and ends it."""
    found = _EXPERIMENT.search(text)
    if found is None or not _JOB.fullmatch(job):
        return []
    host = services.settings.host
    snapshot = Snapshot(
        host=host,
        epoch=services.journal.epoch,
        job=job,
        experiment=found[1],
        sequence=_LAST,
        state=JobState.error,
        code="journal_lost",
        reason=f"host {host} cannot read its journal's record of this job, and ends it; start the experiment again",
    )
    return [("snapshot", snapshot.model_dump_json(exclude_defaults=True))]


def _handles(job: str, text: str) -> list[Handle]:
    """By what can still be read of it, and by the names that its steps have."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        found = {}
    document = found if isinstance(found, dict) else {}
    known: list[Any] = [document.get("handle"), document.get("discarding")]
    return [*(handle for handle in known if _is_of(job, handle)), *handles_of(job)]


def _is_of(job: str, handle: Any) -> bool:
    return isinstance(handle, dict) and str(handle.get("job", "")).startswith(job)


def handles_of(job: str) -> list[Handle]:
    """Of a job of which nothing but the id is known: the names that its steps may have."""
    return [{"job": job}, *({"job": f"{job}-{step}"} for step in range(_STEPS))]
