"""One job's life on its host: the only writer of its state (DESIGN.md, "How one experiment flows").

A :class:`JobRun` takes the job from wherever its record stands to a terminal state. Every wait in it may be ended
by a cancel, a deadline or the end of the daemon; in the last case the job's processes go on, and the next daemon
takes the record up again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from fedproc.common.errors import FedprocError, RefusedError, SystemFaultError
from fedproc.common.log import get_logger
from fedproc.contract.states import JobState
from fedproc.contract.tool.task import Task
from fedproc.contract.wire.messages import Cancel, FileRef, Peer, Start
from fedproc.site.connections.hub import Meter, route_to
from fedproc.site.executors.base import Phase
from fedproc.site.jobs.execution import Execution
from fedproc.site.jobs.record import Decision, JobRecord
from fedproc.site.jobs.resources import Share
from fedproc.site.jobs.services import Host
from fedproc.site.jobs.stage_in import ARTEFACTS, Prepared, fetch, forwards, lay_out, materialise, ports
from fedproc.site.jobs.stage_out import check, seal_artefacts, upload
from fedproc.site.jobs.verdict import Verdict, verdict_of
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.journal import JournalError
from fedproc.site.policy.rules import ToolRule, connection_budget
from fedproc.site.tools.cache import Installed

log = get_logger(__name__)

Journalled = Callable[[bool, str | None], None]
"""Told after each try to write the journal: whether it worked, and the job if somebody waits for what was written."""

_BEFORE_RUN = (JobState.accepted, JobState.materialising, JobState.prepared)
_JOURNAL_PAUSE = 1.0
_GAP = 0.05
"""seconds that a change which nobody waits for is gathered with those that follow it, before it is journalled"""
_CLOCK_LOOK = 5.0
_STOP_SLACK = 30.0


class JobRun:
    """See the module."""

    def __init__(self, host: Host, record: JobRecord, journalled: Journalled, *, taken_up: bool = False) -> None:
        self.record = record
        self._taken_up = taken_up
        self._host = host
        self._journalled = journalled
        self._workspace = Workspace(host.settings.state / "jobs", record.job)
        self._verdict: Verdict | None = None
        self._started = asyncio.Event()
        self._decided = asyncio.Event()
        self._execution: Execution | None = None
        self._meters: list[Meter] = []
        self._pending: list[tuple[str, str]] = []
        self._changed = False
        self._dirty = asyncio.Event()
        self._at_once = asyncio.Event()
        self._clean = asyncio.Event()
        self._clean.set()
        self._task: asyncio.Task[None] | None = None
        if record.start is not None:
            self._started.set()
        if record.decision is not None:
            self._decided.set()

    # -- what comes from outside ---------------------------------------------------------------

    def begin(self) -> asyncio.Task[None]:
        """Start or take up the job; the task ends when the job has ended and is cleaned away."""
        self._task = asyncio.create_task(self._live(), name=self.record.job)
        return self._task

    async def start(self, message: Start) -> None:
        """All of the gang are prepared. Heard twice, it changes nothing."""
        if self.record.start is None:
            self.record.start = message
            await self.saved()
            self._started.set()

    async def finish(self) -> None:
        """The experiment's batch tasks are over: a service ends, and so succeeds."""
        if not self.record.finish:
            self.record.finish = True
            await self.saved()
        if self._execution is not None:
            self._execution.finish.set()

    async def cancel(self, message: Cancel) -> None:
        """End as ``cancelled``, unless it has ended already."""
        if self.record.cancel is None and not self.record.ended:
            self.record.cancel = message
            await self.saved()
            self.stop(Verdict(JobState.cancelled, message.code, message.reason))

    async def decide(self, *, release: bool, reason: str) -> None:
        """What a person at the site says of the sealed outputs. Raises :class:`SystemFaultError` if none wait."""
        if self.record.state is not JobState.awaiting_release or self.record.sealed is None:
            raise SystemFaultError(f"job {self.record.job} awaits no release; it is {self.record.state}")
        self.record.decision = Decision(release=release, reason=reason, hashes=self.record.sealed)
        await self.saved()
        self._decided.set()

    def stop(self, verdict: Verdict) -> None:
        """End the job as ``verdict`` says; the first verdict counts."""
        if self._verdict is None and not self.record.ended and self._task is not None:
            self._verdict = verdict
            self._task.cancel()

    # -- saving ----------------------------------------------------------------------------------

    def save(self, events: list[tuple[str, str]] | None = None) -> None:
        """Journal the record soon, with these messages to the centre, in order, or with a fresh snapshot after them."""
        if events:
            self._pending += events
        else:
            self.record.sequence += 1
            self._changed = True
        self._clean.clear()
        self._dirty.set()

    async def saved(self) -> None:
        """Save, and return when it is on the disk."""
        self.save()
        self._at_once.set()
        await self._clean.wait()

    def _snapshot(self) -> str:
        self.record.connections = tuple(meter.use() for meter in self._meters)
        snapshot = self.record.snapshot(self._host.settings.host, self._host.journal.epoch)
        return snapshot.model_dump_json(exclude_defaults=True)

    async def _write_down(self) -> None:
        """Write what waits, as often as it takes: a full disk delays a state, it never changes one."""
        while True:
            await self._dirty.wait()
            if not self.record.order.gang:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_GAP):
                        await self._at_once.wait()
            self._at_once.clear()
            self._dirty.clear()
            events, self._pending = self._pending, []
            if self._changed:
                events.append(("snapshot", self._snapshot()))
                self._changed = False
            doc = self.record.model_dump(mode="json", exclude_defaults=True) | {"state": self.record.state.value}
            try:
                await self._host.journal.save(self.record.job, doc, events)
            except JournalError as fault:
                log.error("journal.not_written", job=self.record.job, reason=fault.message)
                self._journalled(False, None)
                self._pending = events + self._pending
                self._dirty.set()
                await asyncio.sleep(_JOURNAL_PAUSE)
                continue
            awaited = self.record.ended or self.record.order.gang  # by its user, by its peers
            self._journalled(True, self.record.job if awaited else None)
            if not self._dirty.is_set():
                self._clean.set()

    def _wait_for(self, what: str | None) -> None:
        if self.record.waiting_for != what:
            self.record.waiting_for = what
            self.save()

    # -- the life --------------------------------------------------------------------------------

    async def _live(self) -> None:
        writer = asyncio.create_task(self._write_down())
        try:
            verdict = await self._verdict_of_work()
            await self._end(verdict)
        finally:
            writer.cancel()

    async def _verdict_of_work(self) -> Verdict:
        try:
            if self.record.cancel is not None:
                return Verdict(JobState.cancelled, self.record.cancel.code, self.record.cancel.reason)
            await self._work()
        except asyncio.CancelledError:
            if self._verdict is None:
                raise
            asyncio.current_task().uncancel()  # type: ignore[union-attr]
            return self._verdict
        except FedprocError as fault:
            return verdict_of(fault)
        except Exception as fault:
            log.exception("job.unforeseen", job=self.record.job)
            return verdict_of(fault)
        return Verdict(JobState.succeeded)

    async def _work(self) -> None:
        record, deadlines = self.record, self.record.order.deadlines
        with self._by(deadlines.release_by, "its outputs were not released in time"):
            rule = self._host.policy.rule(record.order)
            installed = await self._host.toolbox.get(record.order.tool, self._wait_for)
            task = self._task_of(installed)
            self._host.policy.check_task(rule, task)
            with self._by(deadlines.end_by, "it had not ended by its deadline"):
                if record.state in (*_BEFORE_RUN, JobState.running):
                    await self._run(installed, task, rule)
                    record.enter(JobState.collecting)
                    self.save()
            await self._deliver(task, rule)

    def _task_of(self, installed: Installed) -> Task:
        try:
            return installed.manifest.tool.task(self.record.order.task)
        except KeyError as fault:
            raise SystemFaultError(
                f"tool {installed.manifest.tool.id} has no task {self.record.order.task!r}"
            ) from fault

    async def _run(self, installed: Installed, task: Task, rule: ToolRule) -> None:
        prepared = await self._prepare(installed, task)
        await self._connect(prepared, rule)
        execution = Execution(self._host, self.record, prepared, self.save, lambda: self._hand_out(task))
        if self.record.finish:
            execution.finish.set()
        self._execution = execution
        await execution.run()

    async def _prepare(self, installed: Installed, task: Task) -> Prepared:
        record, deadlines = self.record, self.record.order.deadlines
        fresh = record.state is not JobState.running
        if fresh:
            with self._by(deadlines.start_by, "it could not start by its deadline"):
                return await self._prepare_fresh(installed, task)
        share = Share(**{**(record.share or {}), "gpus": tuple((record.share or {}).get("gpus", ()))})
        self._host.pool.adopt(record.job, share)
        runtime = await self._host.runtimes.ready(installed, task)
        datasets = await materialise(self._host, record, task, self._workspace)
        return Prepared(task, installed, runtime, self._workspace, datasets, share, self._host.settings.host)

    async def _prepare_fresh(self, installed: Installed, task: Task) -> Prepared:
        record = self.record
        await self._trust_clock()
        share = await self._take_share(task)
        if record.state is JobState.accepted:
            record.enter(JobState.materialising)
            self.save()
        runtime = await self._host.runtimes.ready(installed, task)
        self._host.toolbox.note_ready(installed, task.name, runtime.label)
        await lay_out(self._host, record, self._workspace, self._wait_for)
        datasets = await materialise(self._host, record, task, self._workspace)
        if record.state is JobState.materialising:
            record.enter(JobState.prepared)
            self.save()
        if record.order.gang:
            await self._wait_for_start()
        return Prepared(task, installed, runtime, self._workspace, datasets, share, self._host.settings.host)

    async def _trust_clock(self) -> None:
        clock = self._host.identity.clock
        while not clock.trusted:
            self._wait_for(f"this host's clock, which is {clock.skew:.0f} s off; the site must set it right")
            await asyncio.sleep(_CLOCK_LOOK)
        self._wait_for(None)

    async def _take_share(self, task: Task) -> Share:
        waiting = asyncio.create_task(self._host.pool.acquire(self.record.job, task.resources))
        try:
            await asyncio.sleep(0)
            if not waiting.done():
                self._wait_for(self._host.pool.withheld or "CPUs, memory, disk or GPUs that other jobs hold")
            share = await waiting
        finally:
            waiting.cancel()
        self.record.share = {"cpus": share.cpus, "memory": share.memory, "disk": share.disk, "gpus": list(share.gpus)}
        self._wait_for(None)
        return share

    async def _wait_for_start(self) -> None:
        until = self.record.order.deadlines.hold_until
        if self._started.is_set():
            return
        self._wait_for("the other jobs of its experiment")
        if until is None:
            await self._started.wait()
        else:
            with self._by(until, "the other jobs of its experiment were not prepared in time"):
                await self._started.wait()
        self.record.waiting_for = None

    async def _connect(self, prepared: Prepared, rule: ToolRule) -> None:
        """Open what the task declares, and nothing else; fetch the artefacts that its peers made for it."""
        record, task, start = self.record, prepared.task, self.record.start
        if not (task.connections or task.ports) and start is None:
            return
        for ref in self._wanted_artefacts(start):
            await fetch(self._host, ref, self._workspace.input / ARTEFACTS, self._wait_for)
        hub = self._host.connections
        if (task.connections or task.ports) and (hub is None or start is None):
            raise SystemFaultError(
                "the task has connections, but this host or its order has none", code="connection.none"
            )
        if hub is None or start is None:
            return
        for declared, forward in zip(task.connections, forwards(task, self._workspace, record), strict=True):
            peer = next((peer for peer in start.peers if peer.task == declared.task), None)
            if peer is None:
                raise SystemFaultError(
                    f"the start message names no peer of task {declared.task}", code="connection.peer"
                )
            meter = self._meter(rule, declared.task, peer)
            await hub.forward(record.job, forward.socket, route_to(peer, declared.port), meter, self.save)
        if task.ports:
            sockets = {port.port: port.socket for port in ports(task, self._workspace)}
            meters = [self._meter(rule, task.name, peer) for peer in start.peers]
            hub.admit(record.job, sockets, meters, self.save)

    def _wanted_artefacts(self, start: Start | None) -> tuple[FileRef, ...]:
        if start is None or self.record.state is JobState.running:
            return ()
        return start.artefacts

    def _meter(self, rule: ToolRule, task: str, peer: Peer) -> Meter:
        meter = Meter(task, peer.host, connection_budget(rule, task), peer.key)
        self._meters.append(meter)
        return meter

    async def _hand_out(self, task: Task) -> None:
        """A service is ready: what its peers need of it is released and uploaded now."""
        if not any(output.artefact_for for output in task.outputs):
            return
        folder = await seal_artefacts(self.record, task, self._workspace)
        rule = self._host.policy.rule(self.record.order)
        if found := await check(self._host, rule, task, folder):
            raise RefusedError(f"an artefact may not leave by itself: {found[0].text}", code="release.artefact")
        self.record.artefacts = await upload(self._host, self.record, task, folder, self._wait_for)
        self.record.sealed = None

    async def _deliver(self, task: Task, rule: ToolRule) -> None:
        record, sealed = self.record, self._workspace.sealed
        if record.sealed is None:
            wanted = [o for o in task.outputs if not (o.artefact_for and record.artefacts)]
            record.sealed = await asyncio.to_thread(self._workspace.seal, wanted, sealed) if wanted else {}
            self.save()
        found = await check(self._host, rule, task, sealed)
        if found and record.decision is None:
            if record.state is not JobState.awaiting_release:
                record.enter(JobState.awaiting_release)
            self._wait_for("the site's release: " + "; ".join(f"{f.output}: {f.text}" for f in found))
            await self._decided.wait()
        if found and record.decision is not None:
            self._apply(record.decision)
        record.outputs = await upload(self._host, record, task, sealed, self._wait_for)

    def _apply(self, decision: Decision) -> None:
        if not decision.release:
            raise RefusedError(f"the site does not release the outputs: {decision.reason}", code="release.refused")
        if decision.hashes != self.record.sealed:
            raise SystemFaultError("the site's decision was about other bytes than these", code="release.changed")

    # -- the end ---------------------------------------------------------------------------------

    async def _end(self, verdict: Verdict) -> None:
        record = self.record
        try:
            await self._stop_processes()
        except Exception as fault:
            log.exception("job.processes_not_stopped", job=record.job)
            verdict = verdict_of(fault)
        if self._host.connections is not None:
            await self._host.connections.drop(record.job)
        record.enter(verdict.state)
        record.code, record.reason = verdict.code, verdict.reason
        await self.saved()
        log.info("job.ended", job=record.job, experiment=record.order.experiment, state=record.state.value)
        await self.clean()

    async def _stop_processes(self) -> None:
        record = self.record
        if record.handle is None and self._taken_up:
            await self._end_unknown()
        if record.handle is None or (self._execution is not None and self._execution.over):
            return
        if (await self._host.executor.poll(record.handle)).phase is not Phase.running:
            return
        await self._host.executor.cancel(record.handle)
        async with asyncio.timeout(_STOP_SLACK + 600):
            observed = await self._host.executor.poll(record.handle, until_exit=True)
        record.exit_code = observed.exit_code

    async def _end_unknown(self) -> None:
        """A daemon that was lost may have started the job's next step before its journal knew."""
        for name in (self.record.job, f"{self.record.job}-{self.record.step}"):
            await self._host.executor.discard({"job": name})

    async def clean(self) -> None:
        """Take away all that an ended job left here; safe to repeat."""
        await self._host.take_away(self.record.job, self.record.handle)

    # -- deadlines -------------------------------------------------------------------------------

    @contextmanager
    def _by(self, moment: datetime, text: str) -> Iterator[None]:
        """Let the job expire at ``moment`` by the centre's clock; never while this host's clock is not trusted."""
        verdict = Verdict(JobState.expired, "expired", f"{text} ({moment.isoformat(timespec='seconds')})")
        clock, loop = self._host.identity.clock, asyncio.get_running_loop()
        timer: asyncio.Handle

        def look() -> None:
            nonlocal timer
            left = (moment - clock.now()).total_seconds()
            if left <= 0 and clock.trusted:
                self.stop(verdict)
            else:
                timer = loop.call_later(min(max(left, 1.0), 60.0), look)

        timer = loop.call_soon(look)
        try:
            yield
        finally:
            timer.cancel()
