"""Running one job's steps: started once, watched until the last process is gone, and judged."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any

from fedproc.common.errors import SystemFaultError, ToolFaultError
from fedproc.common.text import of_bytes
from fedproc.contract.states import JobState
from fedproc.contract.times import now
from fedproc.contract.tool.task import Ready, Task, TaskKind
from fedproc.contract.wire.messages import Used
from fedproc.site.executors.base import Executor, ExecutorError, Handle, Observation, Phase, Spec
from fedproc.site.jobs.log_matcher import LogMatcher
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.stage_in import Prepared, make_spec, ports
from fedproc.site.jobs.streams import Streams
from fedproc.site.jobs.verdict import NotStartedError
from fedproc.site.jobs.writer import RecordWriter

OnReady = Callable[[], Awaitable[None]]

NOT_STARTED = "it could not start by its deadline"
_POLL_SECONDS = 0.05
_PRINTED = ("stdout", "stderr")
_LAST_BYTES = 4096
_LAST_CHARACTERS = 400
_LOOK_SECONDS = 2.0
"""between two looks whether a job that waits in a cluster's queue has begun"""


class Execution:
    """The steps of one job. ``writer`` journals its record."""

    def __init__(
        self, services: Services, record: JobRecord, prepared: Prepared, writer: RecordWriter, on_ready: OnReady
    ) -> None:
        self._services = services
        self._record = record
        self._prepared = prepared
        self._writer = writer
        self._on_ready = on_ready
        self._streams = Streams(services, record, prepared.workspace, writer.save, prepared.task.metrics)
        self._matchers: list[LogMatcher] | None = None
        self.finish = asyncio.Event()
        self.over = False
        """the last step that was started has ended, and no process of it is left"""

    @property
    def streams(self) -> tuple[str, ...]:
        """What leaves of it while it runs."""
        return self._streams.names

    @property
    def _task(self) -> Task:
        return self._prepared.task

    @property
    def _executor(self) -> Executor:
        return self._services.executor

    async def run(self) -> None:
        """Run what is left of the steps. Raises :class:`ToolFaultError` or :class:`SystemFaultError` as they end."""
        while True:
            await self._discard_last()
            observed = await self._step()
            self._account(observed)
            last = self._record.step == len(self._task.prepare)
            try:
                self._judge(observed, last)
            except ToolFaultError as error:
                error.detail.setdefault("at_host", await self._last_line(self._record.handle or {}))
                raise
            if last:
                return
            self._record.discarding, self._record.handle = self._record.handle, None
            self._record.step += 1
            self._record.used_before = self._record.used
            self._streams.restart()
            await self._writer.saved()

    async def _discard_last(self) -> None:
        """The journal says by now that the step is over: a daemon after this one asks the executor for it no more."""
        if self._record.discarding is not None:
            await self._executor.discard(self._record.discarding)
            self._record.discarding = None

    async def _step(self) -> Observation:
        record = self._record
        if record.handle is None:
            self.over = False
            spec = make_spec(record, self._prepared, record.step)
            record.command, record.executor = spec.command, spec.executor or self._executor.name
            record.runtime = self._prepared.runtime.label
            record.handle = await self._submit(spec)
            if record.state is not JobState.running:
                record.enter(JobState.running)
            self._writer.save()
            return await self._watch(record.handle, 0.0)
        return await self._watch(record.handle, _seconds_of(await self._executor.poll(record.handle)))

    async def _submit(self, spec: Spec) -> Handle:
        """Submit. Where this is cancelled meanwhile, the submission goes on, and the record gets to know its handle."""

        def note(handle: Handle) -> None:
            self._record.handle = handle
            self._writer.note()

        return await self._services.submissions.make(self._record.job, self._executor.submit(spec), note)

    async def _watch(self, handle: dict[str, Any], ran: float) -> Observation:
        """Wait for the end of a step that has run for so many seconds."""
        companions = [asyncio.create_task(self._companion(work)) for work in self._companions(handle, ran)]
        exit_ = asyncio.create_task(self._executor.poll(handle, until_exit=True))
        try:
            beside = set(companions)
            while not exit_.done():
                awaited: set[asyncio.Task[Any]] = {exit_, *beside}
                ended, _ = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                for companion in ended & beside:
                    companion.result()
                beside -= ended
            observed = await exit_
            self.over = True
        finally:
            for task in (exit_, *companions):
                task.cancel()
            await asyncio.gather(exit_, *companions, return_exceptions=True)
        await self.finish_streams(handle)
        return observed

    async def finish_streams(self, handle: Handle) -> None:
        """Send what its last process has still written: that is where the cause of a failure stands."""
        await self._streams.finish(handle)

    @staticmethod
    async def _companion(work: Awaitable[None]) -> None:
        await work

    def _companions(self, handle: dict[str, Any], ran: float) -> list[Awaitable[None]]:
        """What goes on beside the wait for the exit: the run limit, readiness, finish, metrics and logs."""
        work: list[Awaitable[None]] = [self._limit(handle, ran)]
        if self._task.kind is TaskKind.service:
            work.append(self._end_when_finished(handle))
        if self._task.ready is not None and not self._record.ready and self._record.step == len(self._task.prepare):
            work.append(self._become_ready(self._task.ready, handle))
        if self._streams.names:
            work.append(self._streams.follow(handle))
        return work

    async def _limit(self, handle: Handle, ran: float) -> None:
        """It counts from when the job begins: in a cluster's queue one waits for hours, which its deadline ends."""
        seconds = self._task.resources.run_seconds
        while not ran and not await self._has_begun(handle):
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.sleep(max(0.0, seconds - ran))
        raise ToolFaultError(f"ran longer than its limit of {seconds} s", code="tool_fault.time_limit")

    async def _has_begun(self, handle: Handle) -> bool:
        """Raises :class:`NotStartedError` where its first step still waits by the deadline of its start."""
        try:
            observed = await self._executor.poll(handle)
        except ExecutorError:
            return False  # it is away, and asked again
        if observed.phase is not Phase.running or observed.started is not None:
            return True
        clock, start_by = self._services.identity.clock, self._record.order.deadlines.start_by
        if self._record.step == 0 and clock.trusted and clock.now() > start_by:
            raise NotStartedError(f"{NOT_STARTED} ({start_by.isoformat(timespec='seconds')})")
        return False

    async def _end_when_finished(self, handle: dict[str, Any]) -> None:
        await self.finish.wait()
        await self._executor.cancel(handle)

    async def _become_ready(self, ready: Ready, handle: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(ready.seconds):
                while not await self._is_ready(ready, handle):
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise ToolFaultError(
                f"was not ready after {ready.seconds} s ({ready.model_dump(exclude_none=True)})",
                code="tool_fault.not_ready",
            ) from None
        await self._on_ready()
        self._record.ready = True
        self._writer.save()

    async def _is_ready(self, ready: Ready, handle: dict[str, Any]) -> bool:
        if ready.tcp:
            socket = next(p.socket for p in ports(self._task, self._prepared.workspace) if p.name == ready.tcp)
            return await asyncio.to_thread(socket.exists)
        if ready.file:
            found = await asyncio.to_thread(self._prepared.workspace.read_work, ready.file, 0, 1)
            return bool(found)
        return await self._log_matches(ready.log or "", handle)

    async def _log_matches(self, pattern: str, handle: dict[str, Any]) -> bool:
        if self._matchers is None:
            self._matchers = [LogMatcher(pattern, partial(self._executor.logs, handle, one)) for one in _PRINTED]
        return any([await matcher.matches() for matcher in self._matchers])

    async def _last_line(self, handle: Handle) -> str:
        """The last line that a step has printed, as an error if it has printed one there: for the host's log alone."""
        for stream in reversed(_PRINTED):
            end = b""
            with contextlib.suppress(ExecutorError, OSError):
                async for part in self._executor.logs(handle, stream):
                    end = (end + part)[-_LAST_BYTES:]
            if lines := [line for line in end.splitlines() if line.strip()]:
                return f"it said last: {of_bytes(lines[-1])[:_LAST_CHARACTERS]}"
        return ""

    def _account(self, observed: Observation) -> None:
        """What this step used, and those before it: the same again for a step whose end is seen again."""
        record = self._record
        record.exit_code = observed.exit_code
        before = record.used_before
        if before is None:  # the release before kept one sum alone
            before = record.used_before = record.used if record.step else Used()
        usage = observed.usage
        record.used = Used(
            seconds=(before.seconds or 0) + (observed.seconds or 0),
            cpu_seconds=_sum(before.cpu_seconds, usage.cpu_seconds),
            memory_peak=max((n for n in (before.memory_peak, usage.memory_peak) if n is not None), default=None),
        )

    def _judge(self, observed: Observation, last: bool) -> None:
        if observed.phase is Phase.absent or (observed.exit_code is None and observed.limit is None):
            raise SystemFaultError(
                "the job's processes are gone without a record; the host's log has what is known",
                code="system_fault.processes_lost",
                at_host=observed.detail or "unknown to the executor",
            )
        if observed.limit is not None:
            raise ToolFaultError(
                f"was ended at its limit of {observed.limit}: {observed.detail or 'ask for more in resources'}",
                code=f"tool_fault.limit_{observed.limit}",
            )
        code, task = observed.exit_code, self._task
        if last and self.finish.is_set():
            if code in (*task.stop.exit_codes, task.expected_exit_code):
                return
            raise ToolFaultError(
                f"asked to end, it exited with {_by_signal(code, asked=True)}", code="tool_fault.exit_code"
            )
        if last and task.kind is TaskKind.service:
            raise ToolFaultError(
                f"the service ended by itself with exit code {_by_signal(code)}", code="tool_fault.service_ended"
            )
        expected = task.expected_exit_code if last else 0
        if code != expected:
            step = "the command" if last else f"prepare step {self._record.step + 1}"
            raise ToolFaultError(
                f"{step} exited with {_by_signal(code)}, expected {expected}", code="tool_fault.exit_code"
            )
        if last and task.status is not None:
            self._check_status()

    def _check_status(self) -> None:
        probe = self._task.status
        assert probe is not None
        found = self._prepared.workspace.probe_result(probe.file)
        value = found.get(probe.field) if isinstance(found, dict) else None
        if value not in probe.success:
            missing = "is not there" if value is None else "says no success"
            raise ToolFaultError(
                f"exited as expected, but {probe.field!r} of its own status file {missing}; its logs say more",
                code="tool_fault.status",
                at_host=f"{probe.field}: {value!r:.200}",
            )


def _seconds_of(observed: Observation) -> float:
    """How long it has run: an executor that does not measure it knows when it began."""
    if observed.seconds is not None or observed.started is None or observed.phase is not Phase.running:
        return observed.seconds or 0.0
    return max(0.0, (now() - datetime.fromisoformat(observed.started)).total_seconds())


def _sum(before: float | None, more: float | None) -> float | None:
    return more if before is None else before + (more or 0)


def _by_signal(code: int | None, *, asked: bool = False) -> str:
    """The exit code, and what the shell's 128 and more say of it. One that was ``asked`` to end is killed by us."""
    if code == 128 + signal.SIGKILL and not asked:
        return f"{code} (SIGKILL: the kernel sends it for want of memory; if that is so, ask for more in resources)"
    try:
        return f"{code} ({signal.Signals((code or 0) - 128).name})"
    except ValueError:
        return str(code)
