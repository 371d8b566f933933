"""What a failed job said last, as far as its host lets that out, and where its log lines go on from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool

from fedproc.central.api.deps import AppState
from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import experiments
from fedproc.contract.api.experiments import ExperimentView
from fedproc.contract.states import JobState

_MOST_JOBS = 20
"""that failed, of which a page says it"""
MOST_EVENTS = 200
"""that are read at once"""
_LONGEST = 400


@dataclass(frozen=True)
class LastLine:
    """``cursor``: the log lines that follow it begin with the event that has this line."""

    text: str
    cursor: int


async def last_lines(app: AppState, experiment: ExperimentView) -> dict[str, LastLine | None]:
    """By job that failed; None where its host has let out no line. Only for who may read the experiment."""
    failed = [job.id for job in experiment.jobs if job.state is JobState.failed][:_MOST_JOBS]
    rows = await run_in_threadpool(_rows, app, experiment.id, failed) if failed else []
    return {**dict.fromkeys(failed), **found_in(rows)}


def _rows(app: AppState, experiment: str, jobs: Sequence[str]) -> Sequence[Row[Any]]:
    with read_transaction(app.engine) as connection:
        return of_each(jobs, lambda some: experiments.last_logs(connection, experiment, some, MOST_EVENTS))


def of_each(jobs: Sequence[str], last: Callable[[Sequence[str]], Sequence[Any]]) -> list[Any]:
    """The ``last`` events of some jobs, asked again for those that others' many events have left out."""
    found: list[Any] = []
    rest = list(jobs)
    while rest:
        rows = last(rest)
        found += rows
        written = {row.job for row in rows}
        rest = [job for job in rest if job not in written] if len(rows) == MOST_EVENTS else []
    return found


def found_in(newest_first: Sequence[Any]) -> dict[str, LastLine]:
    """By job, from its log events, of each job newest first: the last line of its errors, else of what it printed."""
    found: dict[str, LastLine] = {}
    for row in sorted(newest_first, key=lambda row: row.data.get("stream") != "stderr"):
        lines = [line for line in row.data.get("lines", []) if line.strip()]
        if lines:
            found.setdefault(row.job, LastLine(lines[-1][:_LONGEST], row.id - 1))
    return found
