"""The orchestrator of one host: keeps one run per open job (D6.1), and the journal of all of them."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from fedproc.common.errors import FedprocError, RefusedError, SystemFaultError
from fedproc.common.log import get_logger
from fedproc.common.tasks import watched
from fedproc.contract.ids import JOB_PATTERN
from fedproc.contract.states import JobState
from fedproc.contract.times import now
from fedproc.contract.wire.messages import Cancel, Finish, JobOrder, Proceed, Revocation, Start
from fedproc.site.executors.base import Handle
from fedproc.site.jobs import logged
from fedproc.site.jobs.adoption import adopt_shares
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.recovery import handles_of, open_records, record_of
from fedproc.site.jobs.release.opinions import Word
from fedproc.site.jobs.run import JobRun
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.termination import Steps, removal
from fedproc.site.jobs.verdict import Verdict, verdict_of

log = get_logger(__name__)

_CANCEL_SECONDS = 1.0
_SETTLE_SECONDS = 5.0
_BROKEN_RUNS = 3
_SITE_STOPPED = Verdict(JobState.cancelled, "site.stopped", "the site stopped all work on this host")


class Orchestrator:
    """What is done with the centre's orders; each is journalled before the method returns.

    Methods that journal raise :class:`fedproc.site.journal.JournalError`.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._runs: dict[str, JobRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._leftovers: dict[str, Steps] = {}
        self._orders: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._broken: Counter[str] = Counter()
        self._closing = False

    @property
    def runs(self) -> Mapping[str, JobRun]:
        """The open jobs, by their ids."""
        return self._runs

    @property
    def leftovers(self) -> Mapping[str, str | None]:
        """Jobs without a run that are being removed here, and why that does not come on, if so."""
        return {job: steps.obstacle for job, steps in self._leftovers.items()}

    # -- start and end ---------------------------------------------------------------------------

    async def resume(self) -> None:
        """Recover every job that the journal has open, and remove what ended jobs left behind.

        All have what they were granted before one of them goes on; the others wait in the order in which they came.
        Where the site has stopped, they are only ended. What cannot be read is set aside, and ended as well.
        """
        await self._apply_revocations()
        records, lost = await open_records(self._services)
        records.sort(key=lambda record: record.times.get(JobState.accepted) or now())
        verdicts, lost_shares = adopt_shares(self._services.pool, records)
        await self._add_written_disk(records)
        for record in records:
            verdict, lost_share = verdicts.get(record.job), record.job in lost_shares
            self._run(record, recovered=True, verdict=verdict, lost_share=lost_share)
        for job, handles in lost.items():
            self._remove(job, handles)
        await self._remove_leftovers()

    async def _add_written_disk(self, records: list[JobRecord]) -> None:
        """Unless the settings say how much there is. Of who holds no share, what was written is free to nobody."""
        services = self._services
        if services.settings.capacity.disk_mb is not None:
            return
        folders = [services.workspace(record.job) for record in records if services.pool.holds(record.job)]
        services.pool.add_disk(await asyncio.to_thread(lambda: sum(folder.written() for folder in folders)))

    async def close(self) -> None:
        """End all runs; the jobs' processes go on and are recovered by the next daemon."""
        self._closing = True
        while self._tasks:  # one cancel may be taken for another's, or be lost in a library
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=_CANCEL_SECONDS)
            await asyncio.sleep(0)
        await self._services.submissions.settle(_SETTLE_SECONDS)

    def _run(
        self, record: JobRecord, *, recovered: bool = False, verdict: Verdict | None = None, lost_share: bool = False
    ) -> None:
        """Have a job live; with a verdict, and while the site has stopped, only to be ended."""
        run = JobRun(self._services, record, recovered=recovered, lost_share=lost_share)
        self._runs[record.job] = run
        if self._services.holds.stopped:
            run.stop(_SITE_STOPPED)
        elif verdict is not None:
            run.stop(verdict)
        task = run.begin()
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(run, ended))

    def _ended(self, run: JobRun, task: asyncio.Task[None]) -> None:
        job = run.record.job
        self._tasks.discard(task)
        self._runs.pop(job, None)
        error = SystemFaultError("its run was cancelled by nobody") if task.cancelled() else task.exception()
        if error is None or self._closing:
            return
        log.error("job.run_failed", exc_info=error, job=job)
        self._end_broken(run, error)

    def cannot_end(self, job: str) -> bool:
        """Whether the job is open, and no run ends it before the daemon starts again."""
        return self._broken[job] > _BROKEN_RUNS

    def _end_broken(self, run: JobRun, error: BaseException) -> None:
        """A run that broke is a fault of ours: another one ends the job, so that it does not stay open for good."""
        record = run.record
        self._broken[record.job] += 1
        if self._broken[record.job] <= _BROKEN_RUNS:
            cause = error if isinstance(error, Exception) else SystemFaultError(repr(error))
            self._run(record, recovered=True, verdict=verdict_of(cause))
        else:
            self._services.holds.hold(record.job, f"job {record.job} cannot be ended ({error}); restart the daemon")

    async def _remove_leftovers(self) -> None:
        folder = self._services.settings.state / "jobs"
        names = await asyncio.to_thread(lambda: [p.name for p in folder.iterdir()] if folder.is_dir() else [])
        for name in names:
            if name in self._runs or name in self._leftovers or not re.fullmatch(JOB_PATTERN, name):
                continue
            record = await record_of(self._services, name)
            if record is None:
                log.warning("job.unknown_ended", job=name)
            self._remove(name, handles_of(name) if record is None else record.handles)

    def _remove(self, job: str, handles: Iterable[Handle]) -> None:
        steps = self._leftovers[job] = Steps(log.bind(job=job))

        async def remove() -> None:
            for name, step in removal(self._services, job, lambda: handles).items():
                await steps.complete(name, step)
            del self._leftovers[job]

        task = watched(asyncio.create_task(remove(), name=f"remove {job}"), "job.not_removed", job=job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the site's word -------------------------------------------------------------------------

    def stop(self) -> None:
        """End all jobs here and take no more. Works without the centre, and outlives a restart.

        Raises :class:`SystemFaultError` if it cannot outlive one; the jobs are ended all the same.
        """
        try:
            self._services.holds.stop()
        finally:
            for run in self._runs.values():
                run.stop(_SITE_STOPPED)

    def stop_refused(self) -> None:
        """End the jobs of versions that the site's policy recalls by now; what they made stays here. Of those that have
        not started, all that it does not admit any more."""
        policy = self._services.policy
        for run in self._runs.values():
            check = policy.check_recalled if run.may_have_started else policy.rule
            try:
                check(run.record.order)
            except RefusedError as error:
                run.stop(Verdict(JobState.refused, error.code, error.message))

    async def decide(self, job: str, word: Word) -> dict[str, Any]:
        """Take a person's word about a job's outputs. Raises :class:`FedprocError` if it does not await that."""
        run = self._runs.get(job)
        if run is None:
            raise FedprocError(f"no open job {job} on this host; `fedproc site releases` lists what waits")
        return await run.decide(word)

    # -- the centre's word -----------------------------------------------------------------------

    async def accept(self, order: JobOrder) -> None:
        """Take on a job, unless it is known already."""
        async with self._orders.setdefault(order.job, asyncio.Lock()):
            if order.job not in self._runs:
                await self._accept(order)

    async def _accept(self, order: JobOrder) -> None:
        services = self._services
        if await services.journal.has(order.job):
            return
        await services.tlog.append(await logged.accepted(services, order))
        record = JobRecord(order=order, times={JobState.accepted.value: now()})
        if services.identity.clock.trusted and order.deadlines.release_by < services.identity.clock.now():
            record.cancel = Cancel(job=order.job, code="expired", reason="it came after its last deadline")
        snapshot = record.snapshot_event(services.settings.host, services.journal.epoch)
        kept = await services.journal.accept(order.job, record.as_json(), [snapshot])
        if kept is not None:
            services.signals.outbox.publish()
            log.info("job.accepted", job=order.job, experiment=order.experiment, task=order.task)
            if "cancel" in kept:
                record.cancel = Cancel.model_validate(kept["cancel"])
            self._run(record)

    async def start(self, message: Start) -> None:
        """All jobs of the gang are prepared."""
        if run := self._runs.get(message.job):
            await run.start(message)

    async def proceed(self, message: Proceed) -> None:
        """The experiment, for which the job was laid out ahead, is started."""
        if run := self._runs.get(message.job):
            await run.ahead.proceed()

    async def finish(self, message: Finish) -> None:
        """The experiment needs its service no more."""
        if run := self._runs.get(message.job):
            await run.finish()

    async def cancel(self, message: Cancel) -> None:
        """End a job; one that is not known yet is cancelled when it comes."""
        async with self._orders.setdefault(message.job, asyncio.Lock()):  # it may be accepted just now
            run = self._runs.get(message.job)
            if run is None and not await self._services.journal.has(message.job):
                await self._services.journal.tombstone(message.job, message.model_dump(mode="json"))
        if run is not None:
            await run.cancel(message)

    async def revoke(self, message: Revocation) -> None:
        """Journalled first, so that a restart admits nobody again. The same message once more changes nothing."""
        await self._services.journal.revoke(message.host, message.key, message.revoked, message.at.timestamp())
        log.warning("revocation.received", peer=message.host, key=message.key, revoked=message.revoked)
        await self._apply_revocations()

    async def _apply_revocations(self) -> None:
        if self._services.connections is not None:
            await self._services.connections.revoke(await self._services.journal.revoked_keys())
