"""Saving a job's record behind its changes: what changes is written to the journal soon, or at once where it counts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from fedproc.common.log import Logger
from fedproc.site.connections.carrying import Meter
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.journal import JournalError

_PAUSE = 1.0
_LONG = 2.0
_GAP = 0.05
"""seconds that a change which nobody waits for is gathered with those that follow it, before it is journalled"""


class RecordWriter:
    """Journals one record, and with it messages to the centre. ``meters`` are those of the job's connections."""

    def __init__(self, services: Services, record: JobRecord, meters: Sequence[Meter], log: Logger) -> None:
        self._services = services
        self._record = record
        self._meters = meters
        self._log = log
        self._pending: list[tuple[str, str]] = []
        self._changed = False
        self._dirty = asyncio.Event()
        self._at_once = asyncio.Event()
        self._clean = asyncio.Event()
        self._clean.set()

    def save(self, events: list[tuple[str, str]] | None = None) -> None:
        """Journal the record soon, with these messages to the centre, in order, or with a fresh snapshot after them."""
        if events:
            self._pending += events
        else:
            self._record.sequence += 1
            self._changed = True
        self._clean.clear()
        self._dirty.set()

    def note(self) -> None:
        """Journal the record soon, with nothing to the centre."""
        self._clean.clear()
        self._dirty.set()

    async def saved(self) -> None:
        """Save, and return when it is on the disk."""
        self.save()
        await self.written()

    async def written(self) -> None:
        """Return when all that was saved and noted is on the disk."""
        self._at_once.set()
        await self._clean.wait()

    async def written_within(self, seconds: float) -> None:
        """The same, for a while. Raises :class:`JournalError`."""
        try:
            async with asyncio.timeout(seconds):
                await self.written()
        except TimeoutError:
            folder = self._services.settings.journal_folder
            raise JournalError(f"the journal in {folder} is not written; make room there, or mend the disk") from None

    def wait_for(self, what: str | None) -> None:
        """Note what the job waits for; None if it goes on."""
        if self._record.waiting_for != what:
            self._record.waiting_for = what
            self.save()

    @contextlib.contextmanager
    def said_if_long(self, what: str) -> Iterator[None]:
        """The job says that it waits for ``what`` where the block takes more than a moment."""
        noting = asyncio.get_running_loop().call_later(_LONG, self.wait_for, what)
        try:
            yield
        finally:
            noting.cancel()
        self.wait_for(None)

    async def run(self) -> None:
        """Write what waits, as often as it takes: a full disk delays a state, it never changes one."""
        while True:
            await self._dirty.wait()
            await self._gather()
            try:
                await self._write()
                self._written()
            except Exception as error:  # noqa: BLE001 (who waits for this record would wait for ever)
                unforeseen = None if isinstance(error, JournalError) else error
                self._log.error("journal.not_written", reason=str(error), exc_info=unforeseen)
                self._services.holds.journal_fails()
                self._dirty.set()
                await asyncio.sleep(_PAUSE)

    async def _gather(self) -> None:
        if not self._record.order.gang:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GAP):
                    await self._at_once.wait()
        self._at_once.clear()
        self._dirty.clear()

    async def _write(self) -> None:
        """The record as it is now, and the messages that wait. Where it fails, all of that waits on."""
        waiting, changed = len(self._pending), self._changed
        self._changed = False
        try:
            events = self._pending[:waiting] + ([self._snapshot()] if changed else [])
            await self._services.journal.save(self._record.job, self._record.as_json(), events)
        except BaseException:
            self._changed = self._changed or changed
            raise
        del self._pending[:waiting]

    def _snapshot(self) -> tuple[str, str]:
        if self._meters:  # else those of the daemon before stay, until their counts are taken over
            self._record.connections = tuple(meter.use() for meter in self._meters)
        return self._record.snapshot_event(self._services.settings.host, self._services.journal.epoch)

    def _written(self) -> None:
        record = self._record
        awaited = record.ended or record.order.gang  # by its user, by its peers
        self._services.holds.journal_works()
        self._services.signals.outbox.publish(record.job if awaited else None)
        if not self._dirty.is_set():
            self._clean.set()
