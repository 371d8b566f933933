"""Deadlines of a job, by the centre's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from fedproc.contract.states import JobState
from fedproc.site.centre.identity import Clock
from fedproc.site.jobs.verdict import Verdict

_SHORTEST, _LONGEST = 1.0, 60.0
"""seconds between two checks of the clock, which may be set meanwhile"""


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
