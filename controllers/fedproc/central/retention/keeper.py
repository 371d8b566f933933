"""Applies retention again and again, in the relay: one relay at a time, in portions with pauses between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial

from sqlalchemy import select

from fedproc.central.db.engine import claimed_alone, read_transaction
from fedproc.central.db.schema import deletions, discards
from fedproc.central.files.discards import remove_due
from fedproc.central.retention import clock, figures, orphans
from fedproc.central.retention.deletion import unfinished
from fedproc.central.retention.rules import RULES
from fedproc.central.retention.storage import Span, Storage
from fedproc.central.retention.trail import Trail
from fedproc.central.settings import RetentionSettings
from fedproc.common.errors import UnavailableError
from fedproc.common.log import get_logger

log = get_logger(__name__)

Portions = Generator[int, None, None]
"""how many rows each transaction has removed"""
DAY = 86_400.0
EVERY_SECONDS = 3600.0
"""between two applications of all rules"""
TICK = 30.0
"""seconds after which it is looked whether there is something to do"""
PAUSE = 0.05
"""seconds between two portions: whoever else writes comes in between"""


class Keeper:
    """Keeps one centre to its settings; ``now`` is its clock, in seconds since 1970."""

    def __init__(
        self,
        settings: RetentionSettings,
        storage: Storage,
        now: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._now = now
        self._doubts = clock.Doubts("retention.clock_doubted", "nothing is deleted", elapsed)

    async def run(self) -> None:
        """Run until cancelled. What goes wrong is logged and tried again: messages and jobs do not wait for it."""
        while True:
            await asyncio.sleep(TICK)
            try:
                await self._in_portions(self.due())
            except UnavailableError as error:
                log.warning("retention.waiting", reason=error.message)
            except Exception:
                log.exception("retention.failed")

    async def _in_portions(self, portions: Portions) -> None:
        step = partial(next, portions, None)
        try:
            while (removed := await _to_its_end(step)) is not None:
                if removed:
                    await asyncio.sleep(PAUSE)
        finally:
            portions.close()

    def due(self) -> Portions:
        """Do what there is to do now, if no other relay does it; yields how many rows each portion has removed."""
        now = self._now()
        if not self._is_something_due(now):
            return
        with claimed_alone(self._storage.engine) as mine:
            if mine and self._is_doubted(now):
                yield from _or_logged("deletions", unfinished(self._storage, now))
            elif mine:
                yield from self._finish(now)
                if self._is_time(now):
                    yield from self.apply(now)

    def apply(self, now: float) -> Portions:
        """Apply every rule, whether it is time for that or not, and count what is kept."""
        yield from self._finish(now)
        removed = {}
        for rule in RULES:
            if days := rule.days(self._settings):
                trail = Trail(rule.kind, days, now)
                yield from _or_logged(rule.kind, rule.remove(self._storage, Span(now - days * DAY, now), trail))
                removed[rule.kind] = trail.removed
        if self._settings.orphans:
            yield from _or_logged("orphans", orphans.find(self._storage, self._settings.orphans, now))
        figures.count(self._storage, removed, now)
        log.info("retention.applied", removed={kind: rows for kind, rows in removed.items() if rows})

    def _finish(self, now: float) -> Portions:
        """What a deletion that was cut off has left, whoever began it."""
        yield from _or_logged("deletions", unfinished(self._storage, now))
        yield from _or_logged("discards", remove_due(self._storage.engine, self._storage.blobs, now))

    def _is_something_due(self, now: float) -> bool:
        with read_transaction(self._storage.engine) as connection:
            left = connection.execute(select(deletions.c.experiment).limit(1)).first()
            bytes_left = connection.execute(select(discards.c.name).where(discards.c.due <= now).limit(1)).first()
        return left is not None or bytes_left is not None or self._is_time(now)

    def _is_doubted(self, now: float) -> bool:
        """Whether nothing may be deleted by the clock now, which is logged once."""
        with read_transaction(self._storage.engine) as connection:
            return self._doubts.hold(clock.doubt(connection, now))

    def _is_time(self, now: float) -> bool:
        with read_transaction(self._storage.engine) as connection:
            last = figures.last_time(connection)
        return last is None or not now - EVERY_SECONDS < last <= now


def _or_logged(kind: str, portions: Iterator[int]) -> Portions:
    """What cannot be deleted now stays until the next time; all other kinds go on."""
    try:
        yield from portions
    except UnavailableError as error:
        log.warning("retention.kind_stays", kind=kind, reason=error.message)
    except OSError as error:
        log.error("retention.files_stay", kind=kind, reason=str(error))


async def _to_its_end(step: Callable[[], int | None]) -> int | None:
    """What one portion gives; it is not left in the middle when the relay ends."""
    portion = asyncio.create_task(asyncio.to_thread(step))
    try:
        return await asyncio.shield(portion)
    finally:
        await asyncio.wait({portion})
