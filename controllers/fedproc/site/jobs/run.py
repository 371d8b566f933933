"""One job's life on its host: the only writer of its state (docs/journey.md).

A :class:`JobRun` takes the job from wherever its record stands to a terminal state. Every wait in it may be ended
by a cancel, a deadline or the end of the daemon; in the last case the job's processes go on, and the next daemon
recovers the job from its record.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from fedproc.common.errors import FedprocError, SystemFaultError
from fedproc.common.log import get_logger
from fedproc.contract.states import JobState
from fedproc.contract.times import now
from fedproc.contract.tool.task import Task
from fedproc.contract.wire.messages import Cancel, Start
from fedproc.contract.wire.release import PARTLY_CODE, PARTLY_RELEASED, TEXTS
from fedproc.site.connections.carrying import Meter
from fedproc.site.executors.base import Mount
from fedproc.site.jobs import grants, logged
from fedproc.site.jobs.ahead import Ahead
from fedproc.site.jobs.deadline import deadline, held_until, trust
from fedproc.site.jobs.execution import NOT_STARTED, Execution
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.release import earlier_releases, masking
from fedproc.site.jobs.release.opinions import Word
from fedproc.site.jobs.release.review import Leaving
from fedproc.site.jobs.release.stage_out import publish_artefacts
from fedproc.site.jobs.resources.shares import Share
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.stage_in import (
    Prepared,
    confirm_datasets,
    create_layout,
    fetch_artefacts,
    freeze_cohorts,
    materialise,
)
from fedproc.site.jobs.stopping import Processes
from fedproc.site.jobs.termination import Termination
from fedproc.site.jobs.verdict import Verdict, verdict_of
from fedproc.site.jobs.wiring import Wiring
from fedproc.site.jobs.writer import RecordWriter
from fedproc.site.policy.policy_file import ToolRule
from fedproc.site.tools.cache import InstalledTool, Runtime

_log = get_logger(__name__)

_BEFORE_RUN = (JobState.accepted, JobState.materialising, JobState.prepared)
_GANG_LATE = "the other jobs of its experiment were not prepared in time"
MAKING = "the packages or the image that it runs in: this host fetches them once for each version"


class JobRun:
    """See the module. ``recovered``: the journal had the job open when this daemon began; ``lost_share``: it cannot
    have what it was granted then, and holds it until its executor has forgotten it."""

    def __init__(
        self, services: Services, record: JobRecord, *, recovered: bool = False, lost_share: bool = False
    ) -> None:
        self.record = record
        self._lost_share = lost_share
        self._services = services
        self._log = _log.bind(job=record.job, experiment=record.order.experiment)
        self._workspace = services.workspace(record.job)
        meters: list[Meter] = []
        self._writer = RecordWriter(services, record, meters, self._log)
        self._wiring = Wiring(services, record, self._workspace, meters, self._writer)
        self._leaving = Leaving(services, record, self._workspace, self._writer, self._log)
        self.save = self._writer.save
        self._verdict: Verdict | None = None
        self._working = False
        self._started = asyncio.Event()
        self._processes = Processes(services, record, self._writer, recovered=recovered)
        self.ahead = Ahead(services, record, self._writer, self.stop)
        self._termination = Termination(services, record, self._writer, self._log, self._processes.stop)
        self._task: asyncio.Task[None] | None = None
        if record.start is not None:
            self._started.set()

    @property
    def obstacle(self) -> str | None:
        """Why the job's end does not come on, if so."""
        return self._termination.obstacle

    # -- what comes from outside ---------------------------------------------------------------

    def begin(self) -> asyncio.Task[None]:
        """Start or recover the job; the task ends when the job has ended and is cleaned up."""
        self._task = asyncio.create_task(self._live(), name=self.record.job)
        return self._task

    async def start(self, message: Start) -> None:
        """All of the gang are prepared. The same message once more changes nothing, and is on the disk, too."""
        if self.record.start is None and self.record.verdict is None:
            self.record.start = message
            self.save()
        await self._writer.written()
        if self.record.start is not None:
            self._started.set()

    async def finish(self) -> None:
        """The experiment's batch tasks are over: a service ends, and so succeeds."""
        if not self.record.finish and self.record.verdict is None:
            self.record.finish = True
            self.save()
        await self._writer.written()
        if (execution := self._processes.execution) is not None:
            execution.finish.set()

    async def cancel(self, message: Cancel) -> None:
        """End as ``cancelled``, unless it ends already: when this returns, either is on the disk."""
        if self.record.cancel is None and self.record.verdict is None:
            self.record.cancel = message
            self.stop(Verdict(JobState.cancelled, message.code, message.reason))
            self.save()
        await self._writer.written()

    async def decide(self, word: Word) -> dict[str, Any]:
        """What a person at the site says of the sealed outputs; see :meth:`Leaving.take`."""
        return await self._leaving.take(word)

    @property
    def decided_by(self) -> datetime:
        """When what waits for a person stays here, if nobody has decided."""
        return self._leaving.until

    def note_notified(self, channel: str, occasion: str) -> None:
        """Journal that the site was told of what waits."""
        if (review := self.record.review) is not None:
            review.notified.setdefault(channel, []).append(occasion)
            self._writer.note()

    @property
    def may_have_started(self) -> bool:
        """Whether processes of it run, or did."""
        return self.record.state not in _BEFORE_RUN

    def stop(self, verdict: Verdict) -> None:
        """End the job as ``verdict`` says; the first counts. Before its work it does none, after it nothing changes."""
        if self._verdict is None and self.record.verdict is None:
            self._verdict = verdict
            if self._working and self._task is not None:
                self._task.cancel()

    # -- the life --------------------------------------------------------------------------------

    async def _live(self) -> None:
        writer_task = asyncio.create_task(self._writer.run())
        try:
            await self._termination.run(self.record.verdict or await self._verdict_of_work())
        finally:
            writer_task.cancel()

    def _given_verdict(self) -> Verdict | None:
        if (cancel := self.record.cancel) is not None:
            return Verdict(JobState.cancelled, cancel.code, cancel.reason)
        return self._verdict

    async def _verdict_of_work(self) -> Verdict:
        if (given := self._given_verdict()) is not None:
            return given
        self._working = True
        try:
            await self._work()
        except asyncio.CancelledError:
            if self._verdict is None:
                raise
            return self._verdict
        except FedprocError as error:
            return self._verdict or verdict_of(error, self._log)
        except Exception as error:  # noqa: BLE001 (whatever stopped the job, it gets a verdict)
            self._log.exception("job.unforeseen")
            return self._verdict or verdict_of(error)
        finally:
            self._working = False
            if self._verdict is not None:
                asyncio.current_task().uncancel()  # type: ignore[union-attr]
        return self._verdict or self._success()

    def _success(self) -> Verdict:
        if self._leaving.is_of_part:
            return Verdict(JobState.succeeded, PARTLY_CODE, TEXTS[PARTLY_RELEASED])
        return Verdict(JobState.succeeded)

    async def _work(self) -> None:
        record, deadlines = self.record, self.record.order.deadlines
        with self._by(deadlines.release_by, "its outputs were not released in time"):
            with self._start_by():
                rule = self._services.policy.rule(record.order)
                await freeze_cohorts(self._services, record)
                installed = await self._services.tool_cache.get(record.order.tool, self._writer.wait_for)
            task = _task_of(installed, record.order.task)
            self._services.policy.check_task(rule, task)
            masking.protect(self._services, record, rule, installed.manifest.tool)
            record.terms = record.terms or self._services.policy.terms(rule, task)
            with self._by(deadlines.end_by, "it had not ended by its deadline"):
                if record.state in (*_BEFORE_RUN, JobState.running):
                    await self._run(installed, task)
                    await confirm_datasets(self._services, record)
                    record.enter(JobState.collecting)
                    self.save()
                    self._services.pool.keep_disk_alone(record.job, _seconds_until(deadlines.release_by))
            await self._leaving.run(installed.manifest.tool, task)

    def _start_by(self) -> AbstractContextManager[None]:
        """Around all that a job does before it is submitted; in a cluster's queue its execution looks for itself."""
        start_by = self.record.order.deadlines.start_by
        return contextlib.nullcontext() if self.may_have_started else self._by(start_by, NOT_STARTED)

    def _by(self, moment: datetime, text: str) -> AbstractContextManager[None]:
        return deadline(moment, text, self._services.identity.clock, self.stop)

    async def _run(self, installed: InstalledTool, task: Task) -> None:
        with self._start_by():
            execution = await self._made_ready(installed, task)
        async with grants.asked_again(self._services, self.record, self.save, self.stop):
            await execution.run()

    async def _made_ready(self, installed: InstalledTool, task: Task) -> Execution:
        prepared = await self._stage_in(installed, task)
        await fetch_artefacts(self._services, self.record, self._workspace, self._writer.wait_for)
        rule = _rule_now(self._services, self.record, task)
        await self._wiring.open(task, rule, installed.manifest.tool)
        publish = partial(publish_artefacts, self._services, self.record, task, self._workspace, self._writer.wait_for)
        execution = Execution(self._services, self.record, prepared, self._writer, publish)
        if self.record.finish:
            execution.finish.set()
        self._processes.execution = execution
        if self.record.state is not JobState.running:
            await earlier_releases.note_connections(self._services, self.record, task, self._writer.wait_for)
            await logged.note_start(self._services, self.record, execution.streams, self._writer.wait_for)
            _rule_now(self._services, self.record, task)
        return execution

    # -- before it runs --------------------------------------------------------------------------

    async def _stage_in(self, installed: InstalledTool, task: Task) -> Prepared:
        record = self.record
        if record.state is not JobState.running:
            return await self._stage_in_fresh(installed, task)
        share = Share.from_json(record.share or {})  # adopted before this run began
        runtime = await self._services.runtimes.ready(installed, task, record.executor)
        datasets = await materialise(self._services, record, task, self._workspace, self._writer.wait_for)
        return Prepared(task, installed, runtime, self._workspace, datasets, share, self._services.settings.host)

    async def _stage_in_fresh(self, installed: InstalledTool, task: Task) -> Prepared:
        record = self.record
        await trust(self._services.identity.clock, self._writer.wait_for)
        if record.order.ahead and record.state is JobState.accepted:
            record.enter(JobState.materialising)
        await self.ahead.run(task, partial(self._lay_out, installed, task))
        share = await self._take_share(task)
        runtime, datasets = await self._lay_out(installed, task)
        if record.state is JobState.materialising:
            record.enter(JobState.prepared)
            self.save()
            # a daemon after this one must know what the processes were given, and where they may be
            await self._writer.written()
        if record.order.gang:
            await self._wait_for_start()
        await grants.ask_if_due(self._services, record, self._writer.wait_for)
        return Prepared(task, installed, runtime, self._workspace, datasets, share, self._services.settings.host)

    async def _lay_out(self, installed: InstalledTool, task: Task) -> tuple[Runtime, tuple[Mount, ...]]:
        runtimes = self._services.runtimes
        executor = await runtimes.executor_for(task, self._writer.wait_for, self.record.given_to(runtimes.names))
        with self._writer.said_if_long(MAKING):
            runtime = await runtimes.ready(installed, task, executor)
        self.record.executor = runtime.executor or None
        self._services.tool_cache.note_ready(installed, task.name, runtime.label)
        await create_layout(self._services, self.record, self._workspace, self._writer.wait_for)
        return runtime, await materialise(self._services, self.record, task, self._workspace, self._writer.wait_for)

    async def _take_share(self, task: Task) -> Share:
        """What is granted now is journalled; GPUs before anything starts, so that a restart grants them to nobody."""
        record = self.record
        if self._lost_share:
            await self._processes.stop()
        asked = (record.job, task.resources, self._writer.wait_for, _most_seconds(task))
        share = await self._services.pool.acquire(*asked, instead=self._lost_share)
        self._lost_share = False
        known, record.share = record.share, share.as_json()
        record.share_until = record.share_until or now() + timedelta(seconds=_most_seconds(task))
        self._writer.wait_for(None)
        if record.state is JobState.accepted:
            record.enter(JobState.materialising)
        elif record.share == known:
            return share
        if share.gpus:
            await self._writer.saved()
        else:
            self.save()
        return share

    async def _wait_for_start(self) -> None:
        until = held_until(self.record, self._services.identity.clock)
        if self._started.is_set():
            return
        self._writer.wait_for("the other jobs of its experiment")
        with contextlib.nullcontext() if until is None else self._by(until, _GANG_LATE):
            await self._started.wait()
        self.record.waiting_for = None


def _rule_now(services: Services, record: JobRecord, task: Task) -> ToolRule:
    """The line of the site's policy as it is now: while the job waited, its tool may have been taken away."""
    rule = services.policy.rule(record.order)
    services.policy.check_task(rule, task)
    masking.check_demands(record, task, rule)
    return rule


def _seconds_until(moment: datetime) -> float:
    return max(0.0, (moment - now()).total_seconds())


def _most_seconds(task: Task) -> float:
    """How long all of its steps may take."""
    return task.resources.run_seconds * (len(task.prepare) + 1.0)


def _task_of(installed: InstalledTool, name: str) -> Task:
    try:
        return installed.manifest.tool.task(name)
    except KeyError as error:
        raise SystemFaultError(f"tool {installed.manifest.tool.id} has no task {name!r}") from error
