"""What is laid out for a job before its experiment is started: without a share of the host, and held for a while.

The order says so (``ahead``). Where the experiment is cancelled, expires, or is not started within the site's
``prepare_days``, the job ends, and with it goes all that was laid out. After a restart what is missing is laid out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from fedproc.contract.states import FOR_START
from fedproc.contract.times import now
from fedproc.contract.tool.task import Task
from fedproc.site.centre.api import OnWait
from fedproc.site.centre.identity import Clock
from fedproc.site.jobs.deadline import deadline
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.verdict import Verdict
from fedproc.site.jobs.writer import RecordWriter

_PAUSE = 5.0


class Ahead:
    """The time before the start of one job. ``stop`` ends the job."""

    def __init__(
        self, services: Services, record: JobRecord, writer: RecordWriter, stop: Callable[[Verdict], None]
    ) -> None:
        self._services = services
        self._record = record
        self._writer = writer
        self._stop = stop
        self._proceed = asyncio.Event()

    async def proceed(self) -> None:
        """Its experiment is started. The same word once more changes nothing, and is on the disk, too."""
        if not self._record.proceed and self._record.verdict is None:
            self._record.proceed = True
            self._writer.save()
        await self._writer.written()
        self._proceed.set()

    async def run(self, task: Task, materialise: Callable[[], Awaitable[object]]) -> None:
        """Lay out, and return when the experiment is started; at once for an order that asks for nothing ahead.

        Raises what ``materialise`` raises, and :class:`RefusedError` where the host is too small for the job.
        """
        record, days = self._record, self._services.settings.prepare_days
        if not record.order.ahead or record.proceed:
            return
        self._services.pool.check(task.resources)
        if days:
            await self._until_given(self._writer.wait_for)
            await materialise()
            record.laid_out = record.laid_out or now()
        record.ready = True
        with self._bounded(days):
            what = "all is laid out, and" if days else "nothing is laid out ahead by this site; the job is"
            self._writer.wait_for(f"{FOR_START}; {what} held until {self._until(days):%Y-%m-%d %H:%M} UTC")
            await self._proceed.wait()
        record.ready = False
        self._writer.wait_for(None)

    async def _until_given(self, wait_for: OnWait) -> None:
        """While the host withholds what it has, nothing is laid out either: its disk may be why."""
        while (reason := self._services.pool.withheld) is not None:
            wait_for(reason)
            await asyncio.sleep(_PAUSE)
        wait_for(None)

    def _until(self, days: float) -> datetime:
        start_by, laid_out = self._record.order.deadlines.start_by, self._record.laid_out
        if not days or laid_out is None:
            return start_by
        return min(start_by, laid_out + _ahead_of(self._services.identity.clock) + timedelta(days=days))

    @contextmanager
    def _bounded(self, days: float) -> Iterator[None]:
        text = "its experiment was not started while this host held what was laid out for it"
        with deadline(self._until(days), text, self._services.identity.clock, self._stop):
            yield


def _ahead_of(clock: Clock) -> timedelta:
    """How far the centre's clock, by which deadlines are, is ahead of this host's."""
    return clock.now() - now()
