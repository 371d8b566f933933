"""From the journal's outbox to the broker: events are published in order and forgotten when confirmed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any, cast

from fedproc.common.errors import UnavailableError
from fedproc.common.log import get_logger
from fedproc.contract.wire.jws import CENTRAL, seal_body
from fedproc.contract.wire.routing import EventKind
from fedproc.site.centre.broker import Broker
from fedproc.site.centre.identity import Identity
from fedproc.site.journal import Journal, JournalError, Outgoing

log = get_logger(__name__)

_PAUSE = 0.5
_GAP = 0.2
"""seconds that news wait for more: what changes again and again goes once. What somebody waits for goes at once."""
_PACE = 0.02
"""seconds between two looks into the journal: what ends within them goes together"""
_MOST = 200


class OutboxPublisher:
    """Publishes what the journal holds; :meth:`ring` says that there is more."""

    def __init__(self, journal: Journal, broker: Broker, identity: Identity) -> None:
        self._journal = journal
        self._broker = broker
        self._identity = identity
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._awaited: set[str] = set()
        self._due: float | None = None
        self.ring()

    def ring(self, awaited: str | None = None) -> None:
        """There may be something new in the outbox; ``awaited``: the job that somebody waits for the news of."""
        if self._due is None:
            self._due = time.monotonic() + _GAP
        self._news.set()
        if awaited is not None:
            self._awaited.add(awaited)
            self._urgent.set()

    async def run(self) -> None:
        """Publish until cancelled. What was published but not confirmed is published again."""
        while True:
            await self._broker.connected.wait()
            await self._news.wait()
            everything = await self._all_is_due()
            if everything:
                self._news.clear()
                self._due = None
            awaited, self._awaited = self._awaited, set()
            self._urgent.clear()
            try:
                await self._publish_waiting(None if everything else awaited)
                await asyncio.sleep(_PACE)
            except (UnavailableError, JournalError) as fault:
                log.warning("outbox.waiting", reason=fault.message)
                await asyncio.sleep(_PAUSE)
                self._news.set()
                self._due = time.monotonic()

    async def _all_is_due(self) -> bool:
        """Wait for something to publish; says whether it is all that waits, or what is awaited alone."""
        left = (self._due or 0.0) - time.monotonic()
        if left > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._urgent.wait()
                return False
        return True

    async def _publish_waiting(self, jobs: set[str] | None) -> None:
        """Publish what waits, a batch at a time; of jobs those in ``jobs`` alone, if it is given."""
        after = 0
        while waiting := await self._journal.outgoing(after, _MOST):
            await self._batch(waiting, jobs)
            if len(waiting) < _MOST:
                return
            after = waiting[-1].id

    async def _batch(self, waiting: Sequence[Outgoing], jobs: set[str] | None) -> None:
        bodies = [json.loads(entry.body) for entry in waiting]
        carried_by = _newest(waiting, bodies)
        going = [n for n, body in enumerate(bodies) if jobs is None or body.get("job") in (None, *jobs)]
        chosen = sorted({carried_by[n] for n in going})
        sent = await asyncio.gather(
            *(self._publish(waiting[n].kind, bodies[n]) for n in chosen), return_exceptions=True
        )
        faults = {n: fault for n, fault in zip(chosen, sent, strict=True) if fault is not None}
        if done := [waiting[n].id for n in going if carried_by[n] not in faults]:
            await self._journal.confirmed(done)
        for fault in faults.values():
            raise fault

    async def _publish(self, kind: str, body: dict[str, Any]) -> None:
        sealed = seal_body(kind, body, self._identity.key, iss=self._identity.host, aud=CENTRAL)
        await self._broker.publish(cast(EventKind, kind), sealed)


def _newest(waiting: Sequence[Outgoing], bodies: Sequence[dict[str, Any]]) -> list[int]:
    """For each message the place of the one that carries what it says.

    That is itself, but for a snapshot for which a newer one of its job waits as well: the highest sequence wins, so
    the older ones need no journey of their own.
    """
    newest = {
        body["job"]: n for n, (entry, body) in enumerate(zip(waiting, bodies, strict=True)) if _is_snapshot(entry)
    }
    return [newest[bodies[n]["job"]] if _is_snapshot(entry) else n for n, entry in enumerate(waiting)]


def _is_snapshot(entry: Outgoing) -> bool:
    return entry.kind == "snapshot"
