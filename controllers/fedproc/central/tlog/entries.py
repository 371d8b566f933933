"""What the centre's log says, kind by kind. No person's name, no parameter, no text that somebody wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from fedproc.central.db.repositories.log_queue import LogEntry
from fedproc.common.tlog.entries import canonical
from fedproc.common.tlog.pseudonyms import Pseudonyms
from fedproc.contract.wire.messages import Snapshot

SUBMITTED = "experiment.submitted"
DISPATCHED = "jobs.dispatched"
RECEIVED = "result.received"
DELETED = "experiment.deleted"
ACTS = "acts"
RESUMED = "log.resumed"
_BYTES_AT_ONCE = 256 << 10
_DATASETS = 1000
"""of one job"""
_FILES = 1000
_LONGEST = 100
_RETENTION = "retention"


def submitted(experiment: Row[Any], jobs: Sequence[Row[Any]], names: Pseudonyms) -> Iterator[LogEntry]:
    """An experiment with its jobs; one of very many has several entries."""
    request: Mapping[str, Any] = experiment.request
    common = {
        "experiment": experiment.id,
        "tool": {"id": experiment.tool, "version": experiment.version, "digest": experiment.digest},
        "user": names.of("user", experiment.owner),
        "project": names.unless_id("project", request.get("project")),
        "purpose": names.unless_id("purpose", request.get("purpose")),
        "told_by": request.get("told_by") or None,
    }
    known = {name: value for name, value in common.items() if value is not None}
    for portion in _portions([_job(job) for job in jobs]):
        yield LogEntry(SUBMITTED, known | {"jobs": portion})


def _portions(jobs: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """So many that an entry stays well below its largest size; one with none if there are none."""
    portion, size = list[dict[str, Any]](), 0
    for job in jobs:
        length = len(canonical(job))
        if portion and size + length > _BYTES_AT_ONCE:
            yield portion
            portion, size = [], 0
        portion.append(job)
        size += length
    yield portion


def _job(job: Row[Any]) -> dict[str, Any]:
    used = [
        {"id": f"{job.host}:{use['id']}", "version": str(use.get("version") or "")[:_LONGEST]}
        for use in job.datasets[:_DATASETS]
    ]
    return {"job": job.id, "host": job.host, "task": job.task, **({"datasets": used} if used else {})}


def dispatched(orders: Iterable[tuple[str, str, str]]) -> list[LogEntry]:
    """Orders that go now: (experiment, job, host) each."""
    by_experiment: dict[str, list[dict[str, str]]] = {}
    for experiment, job, host in orders:
        by_experiment.setdefault(experiment, []).append({"job": job, "host": host})
    return [
        LogEntry(DISPATCHED, {"experiment": experiment, "jobs": jobs}) for experiment, jobs in by_experiment.items()
    ]


def received(snapshot: Snapshot, state: str) -> LogEntry:
    """How a host says that a job has ended, with the hashes of what it released; ``state`` is what came of it here."""
    files = [
        {"output": output.output, "sha256": output.sha256, "file": output.file}
        for output in (*snapshot.outputs, *snapshot.artefacts)
    ]
    data = {"experiment": snapshot.experiment, "job": snapshot.job, "host": snapshot.host, "state": state}
    counted = {} if len(files) <= _FILES else {"files_in_all": len(files)}
    return LogEntry(RECEIVED, data | ({"files": files[:_FILES]} if files else {}) | counted)


def deleted(experiment: str, jobs: int, files: int) -> LogEntry:
    return LogEntry(DELETED, {"experiment": experiment, "jobs": jobs, "files": files})


def acts(rows: Sequence[Row[Any]]) -> list[LogEntry]:
    """Entries of the audit: which act with which outcome, and a commitment to the whole entry."""
    if not rows:
        return []
    return [LogEntry(ACTS, {"acts": [[row.id, row.action, row.outcome, commitment(row._mapping)] for row in rows]})]


def commitment(entry: Mapping[Any, Any]) -> str:
    """A hash of one entry of the audit with its random ``seal``: it proves the entry, and tells nothing without it.

    To erase a person takes the seal away, and with it what the hash says. What a retention's entry counts is brought up
    to date later, and left out.
    """
    names = ("id", "time", "actor", "action", "target", "outcome")
    values = [entry[name] for name in names] + [None if entry["actor"] == _RETENTION else entry["detail"]]
    return hashlib.sha256(str(entry["seal"]).encode() + b"\n" + canonical(values)).hexdigest()
