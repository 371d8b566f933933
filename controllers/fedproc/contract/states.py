"""Job states, which change is legal, and what an experiment's state follows from (docs/states.md).

``queued`` and ``dispatched`` are written by the centre. From ``accepted`` on the host owns the job; the
centre then only records what the host reports, and adds ``lost`` or ``error`` where a host cannot.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands. The order of definition is the order of its life."""

    queued = "queued"
    dispatched = "dispatched"
    accepted = "accepted"
    materialising = "materialising"
    prepared = "prepared"
    running = "running"
    collecting = "collecting"
    awaiting_release = "awaiting_release"
    succeeded = "succeeded"
    failed = "failed"
    """the tool's fault: exit code, missing or excessive output"""
    error = "error"
    """the system's fault"""
    refused = "refused"
    """the site's policy said no"""
    cancelled = "cancelled"
    expired = "expired"
    """a deadline passed"""
    lost = "lost"
    """the host was not heard of again: until after the job's last deadline, or for as long as the experiment waits;
    or it was revoked, or the federation's operator ended the job"""


S = JobState

_GOES_ON = {
    S.queued: "waits for its turn: for tasks before it, or for a file of yours",
    S.dispatched: "waits for its host to take it",
    S.accepted: "waits for its host to lay out tool and data",
    S.materialising: "its host lays out tool and data",
    S.prepared: "waits for its start: for room at its host, or for the tasks that start with it",
    S.running: "the tool runs",
    S.collecting: "its outputs are checked and sent",
    S.awaiting_release: "waits for a person at its site, who decides whether its outputs leave",
}

TERMINAL: frozenset[JobState] = frozenset({S.succeeded, S.failed, S.error, S.refused, S.cancelled, S.expired, S.lost})

_ENDS = frozenset({S.failed, S.error, S.refused, S.cancelled, S.expired, S.lost})

LEGAL: dict[JobState, frozenset[JobState]] = {
    S.queued: frozenset({S.dispatched, S.cancelled, S.expired}),
    S.dispatched: _ENDS | {S.accepted},
    S.accepted: _ENDS | {S.materialising},
    S.materialising: _ENDS | {S.prepared},
    S.prepared: _ENDS | {S.running},
    S.running: _ENDS | {S.collecting},
    S.collecting: _ENDS | {S.awaiting_release, S.succeeded},
    S.awaiting_release: _ENDS | {S.succeeded},
    **dict.fromkeys(TERMINAL, frozenset[JobState]()),
}
"""The one table: ``LEGAL[a]`` holds the states that may directly follow ``a``."""

_ORDER = {state: index for index, state in enumerate(JobState)}


def may_follow(before: JobState, after: JobState) -> bool:
    """Whether a job's own writer may move it from ``before`` to ``after`` in one step."""
    return after in LEGAL[before]


def may_be_reported(known: JobState, reported: JobState) -> bool:
    """Whether a reader that knows ``known`` may take over the snapshot ``reported``.

    Snapshots may be skipped (only the latest counts), so every later state is fine; a terminal one absorbs.
    """
    return known not in TERMINAL and _ORDER[reported] >= _ORDER[known]


class ExperimentState(StrEnum):
    """What a researcher sees of the whole."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    error = "error"
    refused = "refused"
    cancelled = "cancelled"
    expired = "expired"
    lost = "lost"


ENDED: frozenset[ExperimentState] = frozenset(ExperimentState) - {ExperimentState.queued, ExperimentState.running}

FOR_START = "the start"
"""what a job waits for that is laid out ahead, or that nothing is laid out for: its words begin so"""

_WORST_FIRST = (S.failed, S.error, S.lost, S.refused, S.expired, S.cancelled)


def experiment_state(
    jobs: Iterable[JobState], *, tolerated: Iterable[JobState] = (), cancelled: bool = False
) -> ExperimentState:
    """The state of an experiment as a function of its jobs' states.

    ``tolerated`` are the states of jobs that the tool's ``on_host_lost`` lets go without failing the whole; they
    count for "is it still running" only. ``cancelled`` says that its user asked to cancel it: jobs that ended
    otherwise because of that do not change the verdict, unless all had succeeded already.

    Raises ValueError for an experiment without jobs.
    """
    needed, others = list(jobs), list(tolerated)
    everything = needed + others
    if not everything:
        raise ValueError("an experiment has at least one job")
    if all(state is S.queued for state in everything):
        return ExperimentState.queued
    if any(state not in TERMINAL for state in everything):
        return ExperimentState.running
    if all(state is S.succeeded for state in needed):
        return ExperimentState.succeeded
    if cancelled:
        return ExperimentState.cancelled
    worst = next(state for state in _WORST_FIRST if state in needed)
    return ExperimentState(worst.value)


def goes_on(state: str) -> str:
    """What goes on in a job, for who reads no manual; empty for one that has ended, and for a state that is unknown."""
    return next((text for each, text in _GOES_ON.items() if each == state), "")
