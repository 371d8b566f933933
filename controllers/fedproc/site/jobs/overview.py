"""What the site's own operator sees of the jobs here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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
