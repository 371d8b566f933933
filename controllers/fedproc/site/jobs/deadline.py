"""Deadlines of a job, by the centre's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from fedproc.contract.states import JobState
from fedproc.contract.times import now
from fedproc.site.centre.api import OnWait
from fedproc.site.centre.identity import Clock
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.verdict import Verdict

_SHORTEST, _LONGEST = 1.0, 60.0
"""seconds between two checks of the clock, which may be set meanwhile"""
_CLOCK_SECONDS = 5.0


@contextmanager
def deadline(moment: datetime, text: str, clock: Clock, expire: Callable[[Verdict], None]) -> Iterator[None]:
    """Have a job expire that is still inside at ``moment``; never while this host's clock is not trusted."""
    verdict = Verdict(JobState.expired, "expired", f"{text} ({moment.isoformat(timespec='seconds')})")
    loop = asyncio.get_running_loop()
    timer: asyncio.Handle

    def check() -> None:
        nonlocal timer
        left = (moment - clock.now()).total_seconds()
        if left <= 0 and clock.trusted:
            expire(verdict)
        else:
            timer = loop.call_later(min(max(left, _SHORTEST), _LONGEST), check)

    timer = loop.call_soon(check)
    try:
        yield
    finally:
        timer.cancel()


async def trust(clock: Clock, wait_for: OnWait) -> None:
    """Return when this host's clock is near enough to the centre's."""
    while not clock.trusted:
        wait_for(f"this host's clock, which is {clock.skew:.0f} s off; the site must set it right")
        await asyncio.sleep(_CLOCK_SECONDS)
    wait_for(None)


def held_until(record: JobRecord, clock: Clock) -> datetime | None:
    """When a gang's job has waited for the others long enough, by the centre's clock."""
    deadlines, prepared = record.order.deadlines, record.times.get(JobState.prepared)
    if deadlines.hold_seconds is None or prepared is None:
        return deadlines.hold_until
    return prepared + (clock.now() - now()) + timedelta(seconds=deadlines.hold_seconds)
