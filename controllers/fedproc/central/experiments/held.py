"""Experiments that were to be prepared ahead: held until their user starts them, and no longer than until they expire.

What its hosts hold they hold by their own clocks and settings: the centre tells them to proceed, or to cancel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, update

from fedproc.central.db.repositories import delegations, experiments
from fedproc.central.db.schema import experiments as table
from fedproc.central.experiments.advance import advance
from fedproc.central.experiments.coordinator import AHEAD, HELD, STARTED
from fedproc.central.experiments.placement import Plan
from fedproc.common.errors import ConflictError
from fedproc.contract.api.experiments import JobView
from fedproc.contract.states import FOR_START, TERMINAL, JobState
from fedproc.contract.tool.task import Condition, Task


def goes_ahead(placed: Plan, groups: Iterable[Sequence[Task]]) -> frozenset[tuple[str, str]]:
    """The jobs, as (task, host), that are laid out before the start: of a gang (``groups`` of tasks) all or none, and
    none of what comes after other tasks."""
    found: set[tuple[str, str]] = set()
    for group in groups:
        if any(need.condition is Condition.exited for task in group for need in task.needs):
            continue
        names = {task.name for task in group}
        jobs = {(job.task.name, job.host) for job in placed.jobs if job.task.name in names}
        able = {job for job in jobs if job[1] in placed.ahead}
        found |= able if len(group) == 1 or able == jobs else set()
    return frozenset(found)


def check_startable(row: Row[Any]) -> bool:
    """Whether the experiment is held; False where it was started before. Raises :class:`ConflictError`."""
    if row.prepare is None:
        raise ConflictError(
            f"experiment {row.id} was not to be prepared: it began when it was sent", code="conflict.not_prepared"
        )
    if row.ended is not None:
        raise ConflictError(f"experiment {row.id} has already ended as {row.state}", code="conflict.ended")
    if row.cancel_requested:
        raise ConflictError(f"experiment {row.id} is being cancelled", code="conflict.ended")
    return bool(row.prepare == HELD)


def start(connection: Connection, experiment: str, session: str | None, now: float) -> None:
    """Have its hosts begin; once started, it changes nothing.

    ``session`` is the user's at the issuer, sealed: it takes the place of the one that was kept when it was sent.
    Raises :class:`ConflictError`.
    """
    if not check_startable(experiments.locked(connection, experiment)):
        return
    connection.execute(update(table).where(table.c.id == experiment).values(prepare=STARTED))
    if session is not None:
        delegations.forget(connection, experiment)
        delegations.keep(connection, experiment, session, now)
    advance(connection, experiment, now)


def is_held(row: Row[Any]) -> bool:
    """Whether it waits for its user's word."""
    return bool(row.prepare == HELD and row.ended is None and not row.cancel_requested)


def is_laid_out(row: Row[Any]) -> bool:
    """Whether a job's row says that all it needs is there, and that it was not told to proceed."""
    waits = AHEAD in row.told and "proceed" not in row.told
    return bool(waits and row.ready and row.state == "materialising")


def waits_for_start(row: Row[Any]) -> str | None:
    """Why a queued job of a held experiment is not at its host, if that is because of the start."""
    if AHEAD in row.told:
        return None
    return f"{FOR_START}; nothing is laid out ahead for it: its host does not do that, or other tasks come first"


def is_prepared(jobs: Iterable[JobView]) -> bool:
    """Whether the jobs of a held experiment wait for its start alone, or have ended."""
    shown = list(jobs)
    return bool(shown) and all(job.laid_out or job.state in TERMINAL or _waits(job) for job in shown)


def _waits(job: JobView) -> bool:
    return job.state is JobState.queued and (job.waiting_for or "").startswith(FOR_START)
