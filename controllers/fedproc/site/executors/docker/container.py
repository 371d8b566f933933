"""One job's container: its output kept in files, its limits watched, its end recorded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedproc.common.log import get_logger
from fedproc.common.tasks import watched
from fedproc.site.executors.base import Handle
from fedproc.site.executors.confinement.cgroups import group_of
from fedproc.site.executors.confinement.limits import LimitMonitor
from fedproc.site.executors.confinement.namespaces import ProcessNamespace
from fedproc.site.executors.confinement.record import Record, RecordFile
from fedproc.site.executors.docker.client import Engine, Event
from fedproc.site.executors.docker.ending import (
    NEVER_STARTED,
    Signals,
    is_gone,
    killed_state,
    remove,
    seconds_run,
    seconds_since_start,
    surely,
    words_of_init,
)
from fedproc.site.executors.docker.kept_output import KeptOutput

log = get_logger(__name__)
LOST = "the container was ended or removed by its engine, or by somebody else on this host, while the job ran"
_SETTLE_SECONDS = 0.3
_NOT_FOUND = 127
_KILLED = 137
_BY_THE_ENGINE = (137, 143, 255)
"""how a container ends that an engine ends as it starts again, or has lost"""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_MISSING_SECONDS = 5.0
"""for which a container may be said to run though its first process is gone"""


class Container:
    """The container of one job, by the facts in its handle.

    ``exited`` is set when its last process is gone, its output is kept, and the record says how it ended.
    """

    def __init__(self, engine: Engine, handle: Handle, record: Record) -> None:
        self.record = record
        self.id = record.job
        """the engine's, once it is known: the job's id names a container that came before, too, until then"""
        self.exited = asyncio.Event()
        self._engine = engine
        self._handle = handle
        self._folder = Path(handle["folder"])
        self._file = RecordFile(self._folder, record)
        limits = {name: handle[name] for name in ("memory", "disk", "pids")}
        self._limits = LimitMonitor(record, handle["writable"], **limits)
        self._begun = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._output = KeptOutput(engine, self._folder, handle["log"], self._go, self._output_ended)
        self._watching: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._cancelling = self._ending = self._started = False
        self._signals = Signals(engine, lambda: self._ending, self._inspect, sent=record.cancelled)
        self._abandoned = ""
        self._checking: asyncio.Task[None] | None = None
        self._missed: datetime | None = None
        self._foreign_end = False
        """whether one was sent from elsewhere, before"""
        self._interrupted = False
        """whether the engine was gone for a while"""

    async def start(self) -> None:
        """Start it. Raises ExecutorError."""
        await self._output.attach(self.id, begun=False)
        await self._engine.call("start", self.id)
        self._begun = time.monotonic()
        self.record.started = datetime.now(UTC).isoformat()
        self._file.write()
        if not self._ending:
            self._watching = self._go(self._watch())
        self._is_started()

    async def recover(self, found: dict[str, Any]) -> None:
        """Go on with one that was started before this daemon. ``found`` is what the engine says of it now."""
        self.id, state = found["Id"], found["State"]
        self.record.started = datetime.fromisoformat(state["StartedAt"]).isoformat()
        self._begun = time.monotonic() - seconds_since_start(state)
        if state["Running"]:
            await self._output.attach(self.id)
            self._output.adopted = True
            state = (await self._engine.call("inspect_container", self.id))["State"]
        if state["Running"]:
            self._file.note()
            podman = (await self._engine.nature()).podman
            self._watching = self._go(self._watch())
            if podman:
                self._go(self._end_by_state())
            if self.record.cancelled:
                self._stop("")
            self._is_started()
            return
        await self._output.attach(self.id, running=False)
        self._ended_as(state)

    # -- what the engine tells -------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """An event of the engine. One of a container that had this name before may come late, and is none of this."""
        if event.id != self.id:
            return
        if event.action == "die":
            self._died(event.attributes.get("exitCode"))
        elif event.action == "kill":
            self._foreign_end = self._foreign_end or not self._signals.sent
        elif event.action == "oom":
            self._limits.note_memory()
            self._go(self._signals.kill(self.id))

    def _died(self, code: str | None) -> None:
        if code is None:  # Podman 4 does not say
            self._go(self._end_by_state())
            return
        number = int(code) if int(code) >= 0 else _KILLED  # Podman's word for one whose end it did not see
        foreign = int(code) < 0 or (self._interrupted and number in _BY_THE_ENGINE)
        self._foreign_end = self._foreign_end or (foreign and not self._signals.sent)
        self.ended(number)

    async def _end_by_state(self) -> None:
        """Its output has ended, or it has: ask until it has. An engine that was gone meanwhile is asked elsewhere."""
        losses, pause, missing = self._engine.losses, _FIRST_PAUSE, 0.0
        while not self._ending:
            found = await surely(self._engine, self.id)
            if found is None or missing >= _MISSING_SECONDS:
                self.ended(None)  # Podman believes what it noted, also of one that ended with all that looked after it
                return
            state = found["State"]
            if not state["Running"]:
                if losses == self._engine.losses:
                    self._died(str(state["ExitCode"]))
                return
            await asyncio.sleep(pause)
            missing = missing + pause if is_gone(state) else 0.0
            pause = min(2 * pause, _LONGEST_PAUSE)

    def check_again(self, since: datetime) -> None:
        """Events may have been missed since then."""
        self._interrupted = True
        self._missed = min(self._missed or since, since)
        if self._started:  # until then it is as it was made, which is no end
            if self._checking is not None:
                self._checking.cancel()
            self._checking = self._go(self._check_again(self._missed))

    def _is_started(self) -> None:
        self._started = True
        if self._missed is not None:
            self.check_again(self._missed)

    def ended(self, code: int | None, state: dict[str, Any] | None = None) -> None:
        """It has ended with this code; None if nobody knows how."""
        if not self._ending:
            self._ending = True
            self._go(self._conclude(code, state or {}))

    def _ended_as(self, state: dict[str, Any]) -> None:
        self.ended(None if state["Status"] == NEVER_STARTED else state["ExitCode"], state)

    async def _check_again(self, since: datetime) -> None:
        found = await surely(self._engine, self.id)
        if found is None:
            self.ended(None)
            return
        state = found["State"]
        if not state["Running"]:
            self._foreign_end = datetime.fromisoformat(state["FinishedAt"]) > since and not self._signals.sent
            self._ended_as(state)
            return
        if self._watching is not None and self._watching.done():
            self._watching = self._go(self._watch())
        if is_gone(state):
            self._go(self._end_by_state())
        elif self._output.over:
            await self._output.attach_again(self.id)
        self._missed = None

    # -- the end ---------------------------------------------------------------------------------

    async def _conclude(self, code: int | None, state: dict[str, Any]) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._stopping is not None:
            self._stopping.cancel()
        await self._output.finish(self.id)
        if code == _KILLED and not state:
            state = await killed_state(self._engine, self.id, lambda: self._signals.sent)
        try:
            self._note_end(code, state)
            await self._limits.note_disk(None)
        finally:
            self._limits.note_output(self._output.dropped, self._handle["log"])
            self._file.note()
            self.exited.set()

    def _note_end(self, code: int | None, state: dict[str, Any]) -> None:
        record = self.record
        record.phase, record.exit_code, record.ended = "exited", code, datetime.now(UTC).isoformat()
        record.seconds = round(self.seconds(), 6)
        if state.get("FinishedAt"):
            record.ended = datetime.fromisoformat(state["FinishedAt"]).isoformat()
            record.seconds = round(seconds_run(state), 6)
        if state.get("OOMKilled"):
            self._limits.note_memory()
        if code is None or self._foreign_end or self._abandoned:
            record.exit_code, record.detail = None, self._abandoned or LOST
        elif code == _NOT_FOUND:
            record.detail = words_of_init(self._folder) or record.detail

    async def discard(self) -> None:
        """End and remove it. Raises ExecutorError; then it may be asked again."""
        self._signals.sent = True
        await remove(self._engine, self.id)
        self.ended(None)
        await self.exited.wait()
        self.detach()

    def detach(self) -> None:
        """Watch it no more; it goes on."""
        self._file.close()
        for task in self._tasks:
            task.cancel()

    # -- while it runs ---------------------------------------------------------------------------

    async def cancel(self) -> None:
        """Signal the command; after the grace, SIGKILL to all. What was asked before is not asked again."""
        if self._ending or self._cancelling:
            return
        self.record.cancelled = self._cancelling = True
        self._file.note()
        signal, taken = self._handle["signal"], False
        try:
            taken = await self._signals.send(self.id, signal)
        finally:
            self._stop("" if taken else signal)

    def seconds(self) -> float:
        """How long it has been running, by the monotonic clock."""
        return time.monotonic() - self._begun

    def _stop(self, signal: str) -> None:
        self._cancelling = True
        if not self._ending:
            self._stopping = self._go(self._signals.stop(self.id, signal, self._handle["grace"]))

    async def _inspect(self) -> None:
        """Whether it has ended, as nothing has told."""
        found = await surely(self._engine, self.id)
        if found is None:
            self.ended(None)
        elif not found["State"]["Running"]:
            self._ended_as(found["State"])

    async def _watch(self) -> None:
        """One whose limits are looked at no more is ended, too."""
        await asyncio.sleep(_SETTLE_SECONDS)
        found = await surely(self._engine, self.id)
        if found is None:
            self.ended(None)
            return
        process, limits = found["State"]["Pid"], {name: self._handle[name] for name in ("memory", "pids")}
        try:
            await self._limits.watch(
                (group_of(process, found["Id"]) or ProcessNamespace(process, **limits)) if process else None
            )
        except Exception as error:
            log.exception("limits.not_watched", job=self.record.job)
            self._abandoned = f"its limits could not be watched any more ({error})"
        await self._signals.kill(self.id)

    async def _output_ended(self) -> None:
        if not self._ending and (await self._engine.nature()).podman:  # which loses the event of an end at times
            self._go(self._end_by_state())

    def _go(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return watched(task, "container.task_failed", container=self.record.job)
