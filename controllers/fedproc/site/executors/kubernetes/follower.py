"""Follows one job's pod to its end: its start, its disk, what it waits for, and the record of how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff
from fedproc.common.tasks import watched
from fedproc.site.executors.base import ExecutorError, Handle
from fedproc.site.executors.confinement.limits import LimitMonitor
from fedproc.site.executors.confinement.record import Record, RecordFile
from fedproc.site.executors.kubernetes.cluster import Cluster
from fedproc.site.executors.kubernetes.pod import FINALIZER, JobFiles
from fedproc.site.executors.kubernetes.pod_states import (
    LOST,
    Ending,
    Pod,
    began,
    ending_of,
    has_begun,
    key_of,
    uid_of,
    waiting_of,
)
from fedproc.site.executors.kubernetes.pod_watch import PodWatch

log = get_logger(__name__)
NETWORK_OPEN = "network-open"
_ASKED_TO_END = 143
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_KILL_GRACE = 1
_BLIND_SECONDS = 120.0
"""for which the files of a job may not be seen, as those of a server that starts anew; one without limits is ended"""
_OUTPUT_SECONDS = 15.0
"""for which the last of its output may still be on its way through a shared file system"""


class Follower:
    """The pod of one job, by the facts in its handle. ``exited`` is set when the record says how it ended."""

    def __init__(self, cluster: Cluster, watch: PodWatch, handle: Handle, record: Record, uid: str = "") -> None:
        self.record = record
        self.exited = asyncio.Event()
        self._cluster = cluster
        self._watch = watch
        self._handle = handle
        self._files = JobFiles(Path(handle["folder"]))
        self._file = RecordFile(self._files.folder, record)
        self._uid = uid
        """of its pod, once it is known: the job's name names one that came before, too"""
        self._since = time.monotonic() - _seconds_since(record.started)
        limits = {name: handle[name] for name in ("memory", "disk", "pids")}
        self._limits = LimitMonitor(record, handle["writable"], **limits)
        self._tasks: set[asyncio.Task[None]] = set()
        self._patience: tuple[str, asyncio.TimerHandle] | None = None
        self._refused = ""
        self._begun = False
        self._go(self._follow())
        if record.cancelled:
            self._go(self._delete(self._grace()))

    async def cancel(self) -> None:
        """Ask it to end: by the shared folder, which needs no API server, and by the API, which a waiting pod needs."""
        if self.record.cancelled or self.record.phase == "exited":
            return
        self.record.cancelled = True
        self._file.note()
        with contextlib.suppress(OSError):  # a full disk: the API says it as well
            self._files.stop.touch()
        self._go(self._delete(self._grace()))

    def note(self) -> None:
        """Put on record that there is such a job, now or as soon as the disk takes it."""
        self._file.note()

    def seconds(self) -> float | None:
        """How long it has been running; of clocks, which may be set, only those of its beginning count."""
        return time.monotonic() - self._since if self.record.started else None

    def abandon(self) -> None:
        """It is being discarded: who waits for its end waits no more."""
        if not self.exited.is_set():
            self.record.phase, self.record.detail = "exited", "discarded"
            self.exited.set()
        self.detach()

    def detach(self) -> None:
        """Follow it no more; it goes on."""
        self._forgive()
        self._file.close()
        for task in self._tasks:
            task.cancel()

    # -- what the cluster tells ------------------------------------------------------------------

    async def _follow(self) -> None:
        async for seen in self._watch.states(self.record.job):
            pod = seen if seen is not None and self._is_it(seen) else await self._surely()
            ending = Ending(None, None, LOST) if pod is None else ending_of(pod, key_of(pod))
            if ending is not None:
                await self._conclude(ending)
                return
            if pod is not None:
                self._note_state(pod)

    def _is_it(self, pod: Pod) -> bool:
        self._uid = self._uid or uid_of(pod)
        return uid_of(pod) == self._uid

    async def _surely(self) -> Pod | None:
        """What a watch does not show may have come, or gone, a moment ago."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                pod = await self._cluster.pod(self.record.job)
                return pod if pod is not None and self._is_it(pod) else None
            except ExecutorError as error:  # also a refusal: rights that were taken away may be given back
                log.warning("kubernetes.away", job=self.record.job, reason=error.message)
                await asyncio.sleep(backoff.pause())

    def _note_state(self, pod: Pod) -> None:
        if has_begun(pod) and not self._begun:
            self._begun = True
            self._forgive()
            if not self.record.started:
                self.record.started = began(pod, datetime.now(UTC)).isoformat()
                self._since = time.monotonic() - _seconds_since(self.record.started)
            self._file.note()
            self._go(self._watch_disk())
        waiting = waiting_of(pod)
        if waiting is None or waiting.seconds is None:
            self._forgive()
        elif self._patience is None:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(waiting.seconds, self._give_up, waiting.reason)
            self._patience = waiting.reason, timer

    def _forgive(self) -> None:
        if self._patience is not None:
            self._patience[1].cancel()
            self._patience = None

    def _give_up(self, reason: str) -> None:
        self._refused = f"its pod does not start: {reason}"
        self._go(self._delete(_KILL_GRACE))

    async def _watch_disk(self) -> None:
        backoff, blind = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), math.inf
        while self.record.limit is None and not self._refused:
            looking = time.monotonic()
            try:
                await self._limits.watch(None)
            except Exception as error:
                log.exception("limits.not_watched", job=self.record.job)
                blind = min(blind, looking) if time.monotonic() - looking < _LONGEST_PAUSE else time.monotonic()
                if time.monotonic() - blind >= _BLIND_SECONDS:
                    self._refused = f"its limits could not be watched any more ({error})"
                await asyncio.sleep(backoff.pause())
        self._file.note()
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._files.stop.write_text, "now")
        await self._delete(_KILL_GRACE)

    # -- the end ---------------------------------------------------------------------------------

    async def _conclude(self, ending: Ending) -> None:
        self._forgive()
        await self._output_is_here(ending)
        try:
            self._note_end(ending)
            await self._note_disk()
            self._limits.note_output(int(ending.facts.get("dropped") or 0), self._handle["log"])
        finally:
            self._file.note()
            self.exited.set()
        await self._file.written()  # until then the pod is what says how it ended
        with contextlib.suppress(ExecutorError):  # discard asks again
            await self._cluster.let_go(self.record.job, FINALIZER)
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()

    async def _output_is_here(self, ending: Ending) -> None:
        """Its node wrote it, and this machine may not see all of it yet: to open a file is to ask its server."""
        kept = ending.facts.get("kept")
        sizes = {stream: kept.get(stream) for stream in ("stdout", "stderr")} if isinstance(kept, dict) else {}
        until = time.monotonic() + _OUTPUT_SECONDS
        for stream, size in sizes.items():
            while isinstance(size, int) and await asyncio.to_thread(_size_of, self._files.output(stream)) < size:
                if time.monotonic() >= until:
                    log.warning("kubernetes.output_missing", job=self.record.job, stream=stream)
                    return
                await asyncio.sleep(_FIRST_PAUSE)

    async def _note_disk(self) -> None:
        try:
            await self._limits.note_disk(None)
        except OSError as error:
            log.warning("limits.not_seen", job=self.record.job, reason=str(error))

    def _note_end(self, ending: Ending) -> None:
        record, facts = self.record, ending.facts
        record.phase, record.exit_code = "exited", ending.code
        record.started = _text(facts, "started") or record.started
        record.ended = _text(facts, "ended") or datetime.now(UTC).isoformat()
        record.seconds = _number(facts, "seconds", self.seconds())
        record.cpu_seconds = _number(facts, "cpu_seconds", None)
        peak = _number(facts, "memory_peak", None)
        record.memory_peak = None if peak is None else int(peak)
        self._note_reason(ending)

    def _note_reason(self, ending: Ending) -> None:
        record, facts = self.record, ending.facts
        foreign = bool(facts.get("cancelled")) and not record.cancelled and record.limit is None
        limit = ending.limit or _text(facts, "limit")
        if record.cancelled and record.exit_code is None:
            record.exit_code = ending.kubelets or _ASKED_TO_END
        elif self._refused or _text(facts, "fault") or foreign:
            record.exit_code = None
            record.detail = self._refused or self._obstacle(_text(facts, "fault")) or LOST
        elif record.limit is not None:
            record.exit_code = ending.code if ending.code is not None else ending.kubelets
        elif limit == "memory":
            self._limits.note_memory()
        else:
            record.limit = limit or None
            record.detail = record.detail or ending.detail or _text(facts, "detail")

    def _obstacle(self, reason: str) -> str:
        """What kept the job's first program from starting it. An open network is every job's."""
        if "answers from inside" in reason:
            with contextlib.suppress(OSError):  # a full disk: the next job finds it open, too
                (self._files.folder.parent / NETWORK_OPEN).write_text(reason)
        return reason

    async def _delete(self, grace: int) -> None:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                await self._cluster.delete_pod(self.record.job, grace)
            except ExecutorError as error:
                log.warning("kubernetes.away", job=self.record.job, reason=error.message)
                await asyncio.sleep(backoff.pause())
            else:
                return

    def _grace(self) -> int:
        return math.ceil(float(self._handle["grace"])) + 1

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        watched(task, "kubernetes.task_failed", job=self.record.job)


def _seconds_since(started: str) -> float:
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds()) if started else 0.0


def _size_of(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return file.seek(0, os.SEEK_END)
    except OSError:
        return 0


def _text(facts: Any, name: str) -> str:
    value = facts.get(name)
    return value[:2000] if isinstance(value, str) else ""


def _number(facts: Any, name: str, otherwise: float | None) -> float | None:
    value = facts.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else otherwise
