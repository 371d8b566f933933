"""What spans hosts, decided by one pure function: from the states of an experiment's jobs to messages.

It is called in the transaction in which the states change; what it decides is written to the outbox there. Called
again with the same facts it decides the same, and no message is written twice (``messages_sent``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from fedproc.central.experiments.gangs import groups
from fedproc.contract.states import TERMINAL, ExperimentState, JobState, experiment_state
from fedproc.contract.tool.task import Condition, Placement, Task, TaskKind
from fedproc.contract.tool.tool import Tool

_BEFORE_PREPARED = frozenset({JobState.queued, JobState.dispatched, JobState.accepted, JobState.materialising})

Kind = Literal["job", "proceed", "start", "finish", "cancel"]
HELD, STARTED = "held", "started"
"""how far an experiment is that was to be prepared ahead"""
AHEAD = "ahead"
"""among the messages of a job: what it needs is, or was, to be laid out before its experiment is started"""


@dataclass(frozen=True)
class JobFacts:
    """One job as the centre knows it. ``messages_sent`` holds the kinds of message that were written for it."""

    id: str
    host: str
    task: str
    state: JobState
    ready: bool = False
    uploads_missing: int = 0
    messages_sent: frozenset[str] = frozenset()
    reason: str = ""

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL

    @property
    def laid_out(self) -> bool:
        """Whether it waits at its host for nothing but the word to proceed."""
        waits = AHEAD in self.messages_sent and "proceed" not in self.messages_sent
        return waits and self.ready and self.state is JobState.materialising

    @property
    def failed(self) -> bool:
        return self.ended and self.state is not JobState.succeeded


@dataclass(frozen=True)
class Decision:
    """A message to write for one job."""

    kind: Kind
    job: str
    code: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Facts:
    """An experiment. ``busy`` are hosts on which no further gang may begin to acquire now.

    ``held``: it is prepared ahead, and its user has not started it.
    """

    tool: Tool
    jobs: tuple[JobFacts, ...]
    cancel_requested: bool = False
    busy: frozenset[str] = field(default=frozenset())
    held: bool = False
    because: str | None = None
    """the cause of ``cancel_requested`` where it was not its user's wish: the tool was recalled"""

    @cached_property
    def by_task(self) -> dict[str, list[JobFacts]]:
        """The jobs of each task."""
        return {task.name: [job for job in self.jobs if job.task == task.name] for task in self.tool.tasks}

    @cached_property
    def tolerated(self) -> frozenset[str]:
        """Ids of failed jobs that the tool's ``on_host_lost`` lets go; of every job of a lost host.

        A host on which the user's own cancel ended a job is not a lost one.
        """
        rule = self.tool.on_host_lost
        if rule.action != "continue":
            return frozenset()
        ours = [job for job in self.jobs if self.tool.task(job.task).placement is not Placement.server]
        by_its_user = {JobState.cancelled} if self.cancel_requested else set()
        lost = {job.host for job in ours if job.failed and job.state not in by_its_user}
        if len({job.host for job in ours} - lost) < rule.min_hosts:
            return frozenset()
        return frozenset(job.id for job in ours if job.host in lost)

    @cached_property
    def broken(self) -> JobFacts | None:
        """A failed job without which the experiment cannot succeed."""
        failed = [job for job in self.jobs if job.failed and job.id not in self.tolerated]
        by_itself = [job for job in failed if "cancel" not in job.messages_sent]
        return next(iter(by_itself or failed), None)


def state_of(facts: Facts) -> ExperimentState:
    """The experiment's state."""
    return experiment_state(
        [job.state for job in facts.jobs if job.id not in facts.tolerated],
        tolerated=[job.state for job in facts.jobs if job.id in facts.tolerated],
        cancelled=facts.cancel_requested,
    )


def decide(facts: Facts) -> list[Decision]:
    """The messages to write now."""
    if facts.cancel_requested:
        code = "tool.recalled" if facts.because else "cancelled"
        return list(_cancel_all(facts, code, facts.because or "cancelled by its user"))
    if facts.broken is not None:
        job = facts.broken
        why = f"{job.task} on {job.host} ended as {job.state}" + (f": {job.reason}" if job.reason else "")
        return list(_cancel_all(facts, "peer_failed", why))
    decisions = list(_cancel_tolerated(facts))
    for group in groups(facts.tool):
        decisions += _dispatch(facts, group)
        if not facts.held:
            decisions += _proceed(facts, group)
        if len(group) > 1:
            decisions += _start(facts, group)
        decisions += _finish(facts, group)
    return decisions


def _cancel_all(facts: Facts, code: str, reason: str) -> Iterator[Decision]:
    for job in facts.jobs:
        if not job.ended and "cancel" not in job.messages_sent:
            yield Decision("cancel", job.id, code, reason)


def _cancel_tolerated(facts: Facts) -> Iterator[Decision]:
    """A lost host's other jobs have nothing to do any more."""
    for job in facts.jobs:
        if job.id in facts.tolerated and not job.ended and "cancel" not in job.messages_sent:
            yield Decision("cancel", job.id, "peer_failed", f"another job on {job.host} failed; the others go on")


def _living(facts: Facts, group: list[Task]) -> list[JobFacts]:
    return [job for task in group for job in facts.by_task[task.name] if job.id not in facts.tolerated]


def waiting_gang_hosts(facts: Facts) -> frozenset[str]:
    """Hosts of a gang that could be dispatched but for ``busy``; empty if there is none."""
    for group in groups(facts.tool) if not facts.held else ():
        if len(group) > 1 and (_can_dispatch(facts, group) or _can_proceed(facts, group)):
            return frozenset(job.host for job in _living(facts, group))
    return frozenset()


def _can_dispatch(facts: Facts, group: list[Task]) -> bool:
    jobs = _living(facts, group)
    untouched = all(job.state is JobState.queued and "job" not in job.messages_sent for job in jobs)
    return untouched and bool(jobs) and all(_inputs_there(facts, job) and _may_go(facts, job) for job in jobs)


def _may_go(facts: Facts, job: JobFacts) -> bool:
    """Of one that is held, where its host lays out ahead alone."""
    return not facts.held or AHEAD in job.messages_sent


def _can_proceed(facts: Facts, group: list[Task]) -> bool:
    jobs = _living(facts, group)
    return bool(jobs) and all(job.laid_out for job in jobs)


def _inputs_there(facts: Facts, job: JobFacts) -> bool:
    if job.uploads_missing:
        return False
    needed = [need.task for need in facts.tool.task(job.task).needs if need.condition is Condition.exited]
    return all(other.ended for name in needed for other in facts.by_task[name])


def _dispatch(facts: Facts, group: list[Task]) -> Iterator[Decision]:
    if len(group) > 1:
        jobs = _living(facts, group)
        acquires = set() if facts.held else {job.host for job in jobs}
        if _can_dispatch(facts, group) and not facts.busy & acquires:
            yield from (Decision("job", job.id) for job in jobs)
        return
    for job in _living(facts, group):
        untouched = job.state is JobState.queued and "job" not in job.messages_sent
        if untouched and _inputs_there(facts, job) and _may_go(facts, job):
            yield Decision("job", job.id)


def _proceed(facts: Facts, group: list[Task]) -> Iterator[Decision]:
    """What was laid out ahead begins; a gang all at once, since each of it then holds a share of its host."""
    jobs = _living(facts, group)
    if len(group) > 1 and (facts.busy & {job.host for job in jobs} or not _can_proceed(facts, group)):
        return
    yield from (Decision("proceed", job.id) for job in jobs if job.laid_out)


def _start(facts: Facts, group: list[Task]) -> Iterator[Decision]:
    jobs = _living(facts, group)
    if any(job.state in _BEFORE_PREPARED for job in jobs):
        return
    for job in jobs:
        if job.state is JobState.prepared and "start" not in job.messages_sent and _needs_ready(facts, job):
            yield Decision("start", job.id)


def _needs_ready(facts: Facts, job: JobFacts) -> bool:
    needed = [need.task for need in facts.tool.task(job.task).needs if need.condition is Condition.ready]
    return all(other.ready for name in needed for other in facts.by_task[name] if other.id not in facts.tolerated)


def _finish(facts: Facts, group: list[Task]) -> Iterator[Decision]:
    """When a group's batch tasks are over, its services are ended; services alone, when all batch tasks are."""
    if not all(job.ended for job in _batch(facts, group) or _batch(facts, facts.tool.tasks)):
        return
    for task in group:
        for job in facts.by_task[task.name] if task.kind is TaskKind.service else ():
            begun = "start" in job.messages_sent if len(group) > 1 else job.state is JobState.running
            if begun and not job.ended and "finish" not in job.messages_sent:
                yield Decision("finish", job.id)


def _batch(facts: Facts, tasks: Iterable[Task]) -> list[JobFacts]:
    return [job for task in tasks if task.kind is TaskKind.batch for job in facts.by_task[task.name]]
