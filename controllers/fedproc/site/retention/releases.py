"""What the ledger remembers of releases goes by age: what it forgets is compared with nothing any more."""

from __future__ import annotations

import asyncio

from fedproc.site.policy.ledger.ledger import Ledger
from fedproc.site.retention.kept import DAY, Kept, due_before

BATCH = 100


class Releases:
    """Of one ledger. Days of 0 keep it for good."""

    name = "ledger"

    def __init__(self, ledger: Ledger, days: float) -> None:
        self._ledger = ledger
        self._days = days

    async def survey(self, now: float) -> Kept:
        count, oldest, size = await asyncio.to_thread(self._ledger.kept)
        due = oldest is not None and oldest < due_before(self._days, now)
        return Kept(
            kind=self.name,
            what="released cohorts, as keyed hashes of their persons",
            count=count,
            size=size,
            oldest=oldest,
            days=self._days or None,
            due=int(due),
            following=None if oldest is None or due or not self._days else oldest + self._days * DAY,
        )

    async def remove(self, now: float) -> int:
        if not self._days:
            return 0
        return await asyncio.to_thread(self._ledger.forget, due_before(self._days, now), BATCH)
