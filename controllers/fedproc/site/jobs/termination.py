"""The end of a job, taken to its end: verdict, processes gone, share given back, the centre told, and all cleaned away.

Each step is noted in the journal and repeated until it works, by the next daemon if need be. The site's operator sees
which one is not done, and why (``fedproc site jobs``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from fedproc.common.errors import FedprocError
from fedproc.common.log import Logger
from fedproc.common.retry import Backoff
from fedproc.contract.states import JobState
from fedproc.site.executors.base import Handle
from fedproc.site.jobs import logged
from fedproc.site.jobs.record import EndStep, JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.verdict import Verdict
from fedproc.site.jobs.writer import RecordWriter

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_PATIENCE = 60.0
"""seconds after which the centre is told how a job ended though its processes, or its connections, are not known to be
gone: its researcher waits for that, and not for this machine to be mended"""
_JOURNAL_SECONDS = 5.0
_HANGS = {
    EndStep.processes: "they have not ended yet though they were told to (a tool may take up to 600 s for it), and keep"
    " their share. One in state D (ps) waits for a disk or a driver: mend that, or restart this machine",
}
_FROM_REPORT = tuple(EndStep)[tuple(EndStep).index(EndStep.report) :]

Step = Callable[[], Awaitable[None]]


class Steps:
    """Does steps one after the other, each as often as it takes."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self.obstacle: str | None = None
        """the step that fails, and why"""

    async def complete(self, name: EndStep, step: Step, failed: Step | None = None) -> None:
        """Repeat ``step`` until it works, with pauses that grow; ``failed`` is called after each attempt that did not.

        Ends otherwise only by being cancelled.
        """
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while not await self.attempt(name, step):
            if failed is not None:
                await failed()
            await asyncio.sleep(backoff.pause())
        self.obstacle = None

    async def attempt(self, name: EndStep, step: Step) -> bool:
        """Do a step once; says whether it worked. What it raised, or that it hangs, is logged, and is the obstacle."""
        noting = asyncio.get_running_loop().call_later(_PATIENCE, self._note_hanging, name)
        try:
            await step()
        except Exception as error:  # noqa: BLE001 (whatever it is, nothing else would do the step)
            self.obstacle = f"{name}: {str(error) or type(error).__name__}"
            unforeseen = None if isinstance(error, FedprocError | OSError) else error
            self._log.error("job.end_step_failed", step=name.value, reason=str(error), exc_info=unforeseen)
            return False
        finally:
            noting.cancel()
        return True

    def _note_hanging(self, name: EndStep) -> None:
        if self.obstacle is None:
            reason = _HANGS.get(name, f"it goes on for longer than {_PATIENCE:.0f} s; look at this host's disks")
            self.obstacle = f"{name}: {reason}"
            self._log.warning("job.end_step_hangs", step=name.value, reason=reason)


class Termination:
    """Ends one job. ``stop_processes`` returns when no process of it is left; it may be called again."""

    def __init__(
        self, services: Services, record: JobRecord, writer: RecordWriter, log: Logger, stop_processes: Step
    ) -> None:
        self._services = services
        self._record = record
        self._writer = writer
        self._log = log
        self._steps = Steps(log)
        self._since = 0.0
        self._telling = asyncio.Lock()
        self._actions: dict[EndStep, Step] = {
            EndStep.processes: stop_processes,
            EndStep.share: self._give_back,
            EndStep.connections: self._drop_connections,
            EndStep.report: self._tell,
            **removal(services, record.job, lambda: record.handles),
        }

    @property
    def obstacle(self) -> str | None:
        """Why the job's end does not come on, if so."""
        return self._steps.obstacle

    async def run(self, verdict: Verdict) -> None:
        """Do what is left of the end; the first verdict stays. Returns when nothing of the job is left here."""
        record, self._since = self._record, time.monotonic()
        if record.remaining is None:
            record.verdict, record.remaining = verdict, tuple(EndStep)
            self._writer.note()
        impatience = asyncio.create_task(self._tell_in_time())
        try:
            while record.remaining:
                step = record.remaining[0]
                await self._steps.complete(step, self._actions[step], self._attempt_failed)
                record.remaining = record.remaining[1:]
                self._writer.note()
        finally:
            impatience.cancel()
        await self._writer.written()

    async def _tell_in_time(self) -> None:
        """Beside the steps: one that fails, or hangs, keeps no researcher waiting."""
        await asyncio.sleep(_PATIENCE)
        await Steps(self._log).complete(EndStep.report, self._tell)

    async def _give_back(self) -> None:
        self._services.pool.release(self._record.job)

    async def _drop_connections(self) -> None:
        if self._services.connections is not None:
            await self._services.connections.drop(self._record.job)

    async def _tell(self) -> None:
        record = self._record
        async with self._telling:
            if not record.ended and record.verdict is not None:
                await self._services.tlog.append(logged.ended(record, record.verdict))
                record.enter(record.verdict.state)
                record.code, record.reason = record.verdict.code, record.verdict.reason
                self._writer.save()
                self._log.info("job.ended", state=record.state.value)
        await self._writer.written_within(_JOURNAL_SECONDS)

    async def _attempt_failed(self) -> None:
        if time.monotonic() - self._since < _PATIENCE:
            return
        verdict, remaining = self._record.verdict, self._record.remaining
        if verdict is not None and verdict.state is not JobState.succeeded and remaining == _FROM_REPORT:
            await self._make_room()

    async def _make_room(self) -> None:
        """The journal cannot be written. What the job wrote may be why, and is of no use any more: it goes first."""
        await self._steps.attempt(EndStep.folder, self._actions[EndStep.folder])


def removal(services: Services, job: str, handles: Callable[[], Iterable[Handle]]) -> dict[EndStep, Step]:
    """The steps that remove what a job left on this host; each may be repeated."""

    async def forget() -> None:
        for known in handles():
            await services.executor.discard(known)

    async def remove_folder() -> None:
        if not services.settings.keep_job_folders:
            await asyncio.to_thread(services.workspace(job).remove)

    return {
        EndStep.executor: forget,
        EndStep.data: lambda: services.data.discard(job),
        EndStep.folder: remove_folder,
    }
