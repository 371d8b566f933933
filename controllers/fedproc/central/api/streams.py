"""Live event streams: one listener for notifications and one reader of the database for all of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from fedproc.central.api.metrics import Metrics
from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import events
from fedproc.central.notify import Notifier
from fedproc.common.log import get_logger

log = get_logger(__name__)

T = TypeVar("T")

_SHARED_SECONDS = 10.0
"""that one reading counts for all; below POLL_SECONDS, so that a poll reads anew"""
POLL_SECONDS = 15.0
"""Seconds after which a stream reads the database and sends a comment, even if nothing was published."""


class Streams:
    """Wakes the open streams of those experiments whose events grew."""

    def __init__(self, notifier: Notifier, metrics: Metrics, engine: Engine) -> None:
        self._notifier = notifier
        self._metrics = metrics
        self._engine = engine
        self._open: dict[str, set[asyncio.Event]] = {}
        self._shared: dict[str, dict[Hashable, tuple[float, asyncio.Task[Any]]]] = {}
        self._notified = asyncio.Event()
        self._last_event: int | None = None
        self.followed = Counter[str]()
        """how many pages each user has open that follow an experiment"""
        self.ending = False

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._notifier.keep_listening(self._on_topic))
            group.create_task(self._watch())

    def _on_topic(self, topic: str) -> None:
        if topic == "events":
            self._notified.set()

    async def _watch(self) -> None:
        while True:
            await self._notified.wait()
            self._notified.clear()
            if not self._open:
                self._last_event = None
                continue
            try:
                await self._poll()
            except Exception:
                log.exception("streams.not_notified")
                self._wake(list(self._open))

    async def _poll(self) -> None:
        """A stream is registered before it reads, so what was seen before it came is what it reads itself."""
        before = self._last_event
        self._last_event, changed = await run_in_threadpool(self._read_changed, before)
        self._wake(list(self._open) if before is None else changed)

    def _read_changed(self, after: int | None) -> tuple[int, list[str]]:
        with read_transaction(self._engine) as connection:
            return events.changed_since(connection, after)

    def _wake(self, experiments: list[str]) -> None:
        for experiment in experiments:
            self._shared.pop(experiment, None)
            for changed in self._open.get(experiment, ()):
                changed.set()

    async def shared(self, experiment: str, what: Hashable, find: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What ``find`` gives, found once for all streams of the experiment until it changes again.

        ``what`` names it, and has in it all that the answer depends on beside the experiment. What is raised is raised
        to all who wait for it, and not kept.
        """
        kept = self._shared.setdefault(experiment, {})
        begun, task = kept.get(what, (0.0, None))
        if task is None or time.monotonic() >= begun + _SHARED_SECONDS:
            task = asyncio.create_task(find())
            kept[what] = time.monotonic(), task
            task.add_done_callback(lambda done: _forget_failed(kept, what, done))
        return await _finished(task)

    def end(self) -> None:
        """Have every stream end now: the program is about to stop, and clients come back with Last-Event-ID."""
        self.ending = True
        self._wake(list(self._open))

    @contextmanager
    def opened(self, experiment: str) -> Iterator[asyncio.Event]:
        """An event of one stream's own, set when the experiment's events may have grown."""
        changed = asyncio.Event()
        self._open.setdefault(experiment, set()).add(changed)
        self._metrics.streams.inc()
        try:
            yield changed
        finally:
            self._open[experiment].discard(changed)
            if not self._open[experiment]:
                del self._open[experiment]
                self._shared.pop(experiment, None)
            self._metrics.streams.dec()


async def _finished(task: asyncio.Task[T]) -> T:
    """Who waits may go without taking the search away from the others."""
    found: Awaitable[T] = asyncio.shield(task)
    return await found


def _forget_failed(
    kept: dict[Hashable, tuple[float, asyncio.Task[Any]]], what: Hashable, done: asyncio.Task[Any]
) -> None:
    if (done.cancelled() or done.exception() is not None) and kept.get(what, (0.0, None))[1] is done:
        del kept[what]
