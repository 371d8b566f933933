"""Which jobs are open on a host: what it and the centre compare, and the list that settles a difference."""

from __future__ import annotations

import hashlib

from fedproc.contract.ids import JobId
from fedproc.contract.states import JobState
from fedproc.contract.wire.messages import Wire


class OpenJob(Wire):
    """One line of a host's inventory (reconciliation after a restore)."""

    job: JobId
    state: JobState
    sequence: int


def open_jobs_digest(jobs: list[tuple[str, str]]) -> str:
    """sha256 hex over the sorted (job id, state) pairs of the jobs that are open on a host."""
    text = "\n".join(f"{job} {state}" for job, state in sorted(jobs))
    return hashlib.sha256(text.encode()).hexdigest()
