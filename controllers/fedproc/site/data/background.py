"""Looks at datasets, in the background: each is looked at again from time to time, and nobody waits for a long one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff
from fedproc.common.tasks import watched
from fedproc.contract.wire.datasets import DatasetColumns, ImagingSummary, OfferedDataset
from fedproc.site.data.api import DatasetCondition

log = get_logger(__name__)

FIRST_SECONDS = 1.0
"""that whoever asks waits for looks which go on: most datasets are small"""
AGAIN_SECONDS = 10.0
"""after the first look that failed, and twice as many after each further one: a source may only just be starting"""

Summary = Callable[[int], ImagingSummary]
"""what a dataset's images are, rounded by a floor"""


@dataclass
class Seen:
    """What the last look at a dataset found. ``seconds`` lie between its end and the next one, fewer if it failed."""

    condition: DatasetCondition
    seconds: float
    columns: tuple[DatasetColumns, ...] = ()
    imaging: Summary | None = None
    task: asyncio.Task[None] | None = None
    next: float = 0.0
    again: Backoff = field(init=False)

    def __post_init__(self) -> None:
        self.again = Backoff(AGAIN_SECONDS, self.seconds)


class Looks:
    """``look_at`` looks at one dataset, by its id, and calls :meth:`note`. ``on_change``: another thing is offered."""

    def __init__(
        self, seen: Iterable[Seen], look_at: Callable[[str], Coroutine[Any, Any, None]], on_change: Callable[[], None]
    ) -> None:
        self._seen = {one.condition.id: one for one in seen}
        self._look_at = look_at
        self._on_change = on_change

    async def offers(self) -> tuple[OfferedDataset, ...]:
        """As they were when each was looked at last; one that cannot be read is not offered, and logged once."""
        for name, seen in self._seen.items():
            self._begin(name, seen)
        looking = [seen.task for seen in self._seen.values() if seen.task is not None and not seen.task.done()]
        if looking:
            await asyncio.wait(looking, timeout=FIRST_SECONDS)
        return tuple(offer for seen in self._seen.values() if (offer := seen.condition.offer) is not None)

    def conditions(self, progress: Callable[[str], str | None]) -> tuple[DatasetCondition, ...]:
        """Each as it was found last, with how far the look at it has come."""
        return tuple(replace(seen.condition, progress=progress(name)) for name, seen in self._seen.items())

    def columns(self, floor: int) -> tuple[DatasetColumns, ...]:
        """The pages of all that are offered."""
        return tuple(page for seen in self._seen.values() for page in _pages(seen, floor))

    def of(self, name: str) -> Seen:
        """What the last look at it found."""
        return self._seen[name]

    def note(self, condition: DatasetCondition, columns: tuple[DatasetColumns, ...] = ()) -> None:
        """What a look has found."""
        seen = self._seen[condition.id]
        if condition.problem is not None and condition.problem != seen.condition.problem:
            log.error("dataset.unreadable", dataset=condition.id, reason=condition.problem, cure=condition.cure)
        changed = condition.offer != seen.condition.offer
        seen.condition, seen.columns = condition, columns
        if changed:
            self._on_change()
        seen.next = time.monotonic() + _pause(seen)

    def _begin(self, name: str, seen: Seen) -> None:
        """Have it looked at, not again before some time, and not while that goes on."""
        if seen.task is not None and (not seen.task.done() or time.monotonic() < seen.next):
            return
        seen.task = watched(asyncio.create_task(self._look_at(name)), "dataset.not_looked_at", dataset=name)


def _pause(seen: Seen) -> float:
    if seen.condition.problem is not None:
        return min(seen.again.pause(), seen.seconds)
    seen.again.reset()
    return seen.seconds


def _pages(seen: Seen, floor: int) -> tuple[DatasetColumns, ...]:
    offer = seen.condition.offer
    if offer is None or seen.imaging is None:
        return seen.columns
    nothing = DatasetColumns(dataset=offer.id, version=offer.version, page=0, pages=1, columns=())
    first, *others = seen.columns or (nothing,)
    return first.model_copy(update={"imaging": seen.imaging(floor)}), *others
