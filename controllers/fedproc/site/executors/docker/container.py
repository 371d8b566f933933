"""One job's container: its output kept in files, its limits watched, its end recorded."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedproc.common.tasks import watched
from fedproc.site.executors.base import ExecutorError, Handle
from fedproc.site.executors.confinement.cgroups import group_of
from fedproc.site.executors.confinement.limits import LimitMonitor
from fedproc.site.executors.confinement.namespaces import ProcessNamespace
from fedproc.site.executors.confinement.record import Record, write_record
from fedproc.site.executors.docker.client import Engine, EngineRefusedError, Event
from fedproc.site.executors.docker.output import OutputFile, read_frames

GONE, CONFLICT = 404, 409
LOST = "the container was ended or removed by its engine, or by somebody else on this host, while the job ran"
_STREAMS = {1: "stdout", 2: "stderr"}
_OUTPUT_SECONDS = 30
_SETTLE_SECONDS = 0.3
_NOT_FOUND = 127
_KILLED = 137
_NEVER_STARTED = "created"
_BY_THE_ENGINE = (137, 143, 255)
"""how a container ends that an engine ends as it starts again, or has lost"""
_INIT_FAULT = "[FATAL tini"
_TAIL_BYTES = 500
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
        limits = {name: handle[name] for name in ("memory", "disk", "pids")}
        self._limits = LimitMonitor(record, handle["writable"], **limits)
        self._files = {number: OutputFile(self._folder / name, handle["log"]) for number, name in _STREAMS.items()}
        self._begun = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._output: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._ending = False
        self._signalled = record.cancelled
        """whether a signal was sent from here"""
        self._foreign_end = False
        """whether one was sent from elsewhere, before"""
        self._taken_up = False
        """whether its output is read by a daemon that did not start it"""
        self._interrupted = False
        """whether the engine was gone for a while"""

    async def start(self) -> None:
        """Start it. Raises ExecutorError."""
        await self._attach(begun=False)
        await self._engine.call("start", self.id)
        self._begun = time.monotonic()
        self.record.started = datetime.now(UTC).isoformat()
        write_record(self._folder, self.record)
        self._start_watching()

    async def recover(self, found: dict[str, Any]) -> None:
        """Go on with one that was started before this daemon. ``found`` is what the engine says of it now."""
        self.id, state = found["Id"], found["State"]
        began = datetime.fromisoformat(state["StartedAt"])
        self.record.started = began.isoformat()
        self._begun = time.monotonic() - (datetime.now(UTC) - began).total_seconds()
        if state["Running"]:
            await self._attach()
            self._taken_up = True
            state = await self._state()
        if state["Running"]:
            self._start_watching()
            if (await self._engine.nature()).podman:
                self._go(self._end_by_state())
            if self.record.cancelled:
                self._kill_after_grace()
            return
        if self._output is not None:
            self._output.cancel()
        await self._attach(running=False)
        self.ended(None if state["Status"] == _NEVER_STARTED else state["ExitCode"], state)

    # -- what the engine tells -------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """An event of the engine. One of a container that had this name before may come late, and is none of this."""
        if event.id != self.id:
            return
        if event.action == "die":
            self._died(event.attributes.get("exitCode"))
        elif event.action == "kill":
            self._foreign_end = self._foreign_end or not self._signalled
        elif event.action == "oom":
            self._limits.note_memory()
            self._go(self._kill("SIGKILL"))

    def _died(self, code: str | None) -> None:
        if code is None:  # Podman 4 does not say
            self._go(self._end_by_state())
            return
        number = int(code) if int(code) >= 0 else _KILLED  # Podman's word for one whose end it did not see
        foreign = int(code) < 0 or (self._interrupted and number in _BY_THE_ENGINE)
        self._foreign_end = self._foreign_end or (foreign and not self._signalled)
        self.ended(number)

    async def _end_by_state(self) -> None:
        """Its output has ended, or it has: ask until it has. An engine that was gone meanwhile is asked elsewhere."""
        losses, pause, missing = self._engine.losses, _FIRST_PAUSE, 0.0
        with contextlib.suppress(ExecutorError):
            while (state := await self._state())["Running"] and not self._ending and missing < _MISSING_SECONDS:
                await asyncio.sleep(pause)
                missing = missing + pause if _is_gone(state) else 0.0
                pause = min(2 * pause, _LONGEST_PAUSE)
            if state["Running"]:
                self.ended(None)  # Podman believes what it noted, also of one that ended with all that looked after it
            elif losses == self._engine.losses:
                self._died(str(state["ExitCode"]))

    def check_again(self, since: datetime) -> None:
        """Events may have been missed."""
        self._interrupted = True
        self._go(self._check_again(since))

    def ended(self, code: int | None, state: dict[str, Any] | None = None) -> None:
        """It has ended with this code; None if nobody knows how."""
        if not self._ending:
            self._ending = True
            self._go(self._conclude(code, state or {}))

    async def _check_again(self, since: datetime) -> None:
        try:
            state = await self._state()
        except EngineRefusedError as error:
            if error.status == GONE:
                self.ended(None)
            return
        except ExecutorError:
            return  # gone once more: this is asked again when it is back
        if not state["Running"]:
            self._foreign_end = datetime.fromisoformat(state["FinishedAt"]) > since and not self._signalled
            self.ended(state["ExitCode"], state)
            return
        if _is_gone(state):
            self._go(self._end_by_state())
            return
        if self._output is not None and self._output.done():
            await self._attach()
        if self._watching is not None and self._watching.done():
            self._start_watching()

    # -- the end ---------------------------------------------------------------------------------

    async def _conclude(self, code: int | None, state: dict[str, Any]) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._grace is not None:
            self._grace.cancel()
        if self._output is not None:
            await self._finish_output()
        if code == _KILLED and not state:  # for want of memory, perhaps: Podman has no event that says so
            with contextlib.suppress(ExecutorError):
                state = await self._state()
        try:
            self._note_end(code, state)
            await self._limits.note_disk(None)
            self._limits.note_output(sum(file.dropped for file in self._files.values()), self._handle["log"])
            write_record(self._folder, self.record)
        finally:
            self.exited.set()

    async def _finish_output(self) -> None:
        assert self._output is not None
        if self._taken_up and (await self._engine.nature()).podman:  # which does not end what it shows of its log
            self._output.cancel()
            with contextlib.suppress(ExecutorError):
                await self._attach(running=False)
        await asyncio.wait({self._output}, timeout=_OUTPUT_SECONDS)

    def _note_end(self, code: int | None, state: dict[str, Any]) -> None:
        record = self.record
        record.phase, record.exit_code, record.ended = "exited", code, datetime.now(UTC).isoformat()
        record.seconds = round(self.seconds(), 6)
        if state.get("FinishedAt"):
            ended = datetime.fromisoformat(state["FinishedAt"])
            record.ended = ended.isoformat()
            record.seconds = round((ended - datetime.fromisoformat(state["StartedAt"])).total_seconds(), 6)
        if state.get("OOMKilled"):
            self._limits.note_memory()
        if code is None or self._foreign_end:
            record.exit_code, record.detail = None, LOST
        elif code == _NOT_FOUND:
            record.detail = _words_of_init(self._folder) or record.detail

    async def discard(self) -> None:
        """End and remove it."""
        self._signalled = True
        with contextlib.suppress(EngineRefusedError):  # it is gone
            await self._engine.call("remove_container", self.id, force=True, v=True)
        self.ended(None)
        await self.exited.wait()
        self.detach()

    def detach(self) -> None:
        """Watch it no more; it goes on."""
        for task in self._tasks:
            task.cancel()

    # -- while it runs ---------------------------------------------------------------------------

    async def cancel(self) -> None:
        """Signal the command; after the grace, SIGKILL to all. What was asked before is not asked again."""
        if self._ending or self._grace is not None:
            return
        self.record.cancelled = True
        write_record(self._folder, self.record)
        self._kill_after_grace()
        await self._kill(self._handle["signal"])

    def seconds(self) -> float:
        """How long it has been running, by the monotonic clock."""
        return time.monotonic() - self._begun

    def _kill_after_grace(self) -> None:
        loop = asyncio.get_running_loop()
        self._grace = loop.call_later(self._handle["grace"], lambda: self._go(self._kill("SIGKILL")))

    async def _kill(self, signal: str) -> None:
        self._signalled = True
        with contextlib.suppress(ExecutorError):  # it has ended meanwhile, or the engine has; both tell later
            await self._engine.call("kill", self.id, signal=signal)

    def _start_watching(self) -> None:
        self._watching = self._go(self._watch())

    async def _watch(self) -> None:
        await asyncio.sleep(_SETTLE_SECONDS)
        try:
            found = await self._engine.call("inspect_container", self.id)
        except ExecutorError:
            return  # it has ended meanwhile, which its event tells; or the engine is gone, and is asked again later
        process, limits = found["State"]["Pid"], {name: self._handle[name] for name in ("memory", "pids")}
        await self._limits.watch(
            (group_of(process, found["Id"]) or ProcessNamespace(process, **limits)) if process else None
        )
        await self._kill("SIGKILL")

    async def _state(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._engine.call("inspect_container", self.id)
        state: dict[str, Any] = found["State"]
        return state

    async def _attach(self, *, begun: bool = True, running: bool = True) -> None:
        reader, writer = await self._engine.attach(self.id, begun=begun, running=running)
        for file in self._files.values():
            file.begin()
        self._output = self._go(self._read_output(reader, writer))

    async def _read_output(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_frames(reader, self._files)
        writer.close()
        if not self._ending and (await self._engine.nature()).podman:  # which loses the event of an end at times
            self._go(self._end_by_state())

    def _go(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return watched(task, "container.task_failed", container=self.record.job)


def _is_gone(state: dict[str, Any]) -> bool:
    """Whether the first process of a container, as its engine knows it, is not on this machine any more."""
    return not Path(f"/proc/{state['Pid']}").exists()


def _words_of_init(folder: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        text = (folder / "stderr").read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
        return text if text.startswith(_INIT_FAULT) else ""
    return ""
