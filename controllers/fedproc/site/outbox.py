"""From the journal's outbox to the broker: events are published in order and forgotten when confirmed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Sequence
from typing import Any, cast

from fedproc.contract.errors import Unavailable
from fedproc.contract.jws import CENTRAL, seal_body
from fedproc.contract.routing import EventKind
from fedproc.site.broker import Broker
from fedproc.site.identity import Identity
from fedproc.site.journal import Journal, JournalError, Outgoing

log = logging.getLogger(__name__)

_PAUSE = 0.5
_GAP = 0.02
"""seconds that news wait for more: what changes again and again goes once. An end goes at once."""
_MOST = 200


class OutboxPublisher:
    """Publishes what the journal holds; :meth:`ring` says that there is more."""

    def __init__(self, journal: Journal, broker: Broker, identity: Identity) -> None:
        self._journal = journal
        self._broker = broker
        self._identity = identity
        self._news = asyncio.Event()
        self._news.set()
        self._urgent = asyncio.Event()

    def ring(self, urgent: bool = False) -> None:
        """There may be something new in the outbox; ``urgent``: somebody waits for it."""
        self._news.set()
        if urgent:
            self._urgent.set()

    async def run(self) -> None:
        """Publish until cancelled. What was published but not confirmed is published again."""
        while True:
            await self._broker.connected.wait()
            await self._news.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), _GAP)
            self._news.clear()
            self._urgent.clear()
            try:
                while await self._batch():
                    pass
            except (Unavailable, JournalError) as fault:
                log.warning("events wait", extra={"reason": fault.message})
                self._news.set()
                await asyncio.sleep(_PAUSE)

    async def _batch(self) -> bool:
        """Publish what waits, or the first of it; says whether there may be more."""
        waiting = await self._journal.outgoing(0, _MOST)
        if not waiting:
            return False
        bodies = [json.loads(entry.body) for entry in waiting]
        carried_by = _newest(waiting, bodies)
        chosen = sorted(set(carried_by))
        sent = await asyncio.gather(
            *(self._publish(waiting[n].kind, bodies[n]) for n in chosen), return_exceptions=True
        )
        faults = {n: fault for n, fault in zip(chosen, sent, strict=True) if fault is not None}
        done = [entry.id for entry, n in zip(waiting, carried_by, strict=True) if n not in faults]
        await self._journal.confirmed(done)
        for fault in faults.values():
            raise fault
        return len(waiting) == _MOST

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
