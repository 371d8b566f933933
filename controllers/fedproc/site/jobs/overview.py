"""What the site's own operator sees of the jobs here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fedproc.contract.states import JobState
from fedproc.site.jobs.run import JobRun


def jobs_of(runs: Iterable[JobRun]) -> list[dict[str, Any]]:
    """Every open job in short, for ``fedproc site status``."""
    return [
        {
            "job": run.record.job,
            "experiment": run.record.order.experiment,
            "tool": run.record.order.tool.id,
            "task": run.record.order.task,
            "user": run.record.order.user.name or run.record.order.user.sub,
            "state": run.record.state.value,
            "waiting_for": run.record.waiting_for,
            "ending": list(run.record.remaining or ()),
            "obstacle": run.obstacle,
        }
        for run in runs
    ]


def leftovers_of(leftovers: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """What is removed of jobs that nobody runs here: of an earlier daemon, or of a journal that was lost."""
    return [{"job": job, "ending": ["removal"], "obstacle": obstacle} for job, obstacle in leftovers.items()]


def releases_of(runs: Iterable[JobRun], state: Path) -> list[dict[str, Any]]:
    """What awaits a person's decision: the sealed files with their hashes."""
    held = [run for run in runs if run.record.state is JobState.awaiting_release and run.record.decision is None]
    return [
        {
            **entry,
            "files": [
                {"path": path, "sha256": digest, "file": str(state / "jobs" / run.record.job / "sealed" / path)}
                for path, digest in (run.record.sealed or {}).items()
            ],
            "release_by": run.record.order.deadlines.release_by.isoformat(),
        }
        for run, entry in zip(held, jobs_of(held), strict=True)
    ]
