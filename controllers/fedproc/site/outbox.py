"""From the journal's outbox to the broker: events are published in order and forgotten when confirmed."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import cast

from fedproc.contract.errors import Unavailable
from fedproc.contract.jws import CENTRAL, seal_body
from fedproc.contract.routing import EventKind
from fedproc.site.broker import Broker
from fedproc.site.identity import Identity
from fedproc.site.journal import Journal, JournalError, Outgoing

log = logging.getLogger(__name__)

_PAUSE = 0.5


class OutboxPublisher:
    """Publishes what the journal holds; :meth:`ring` says that there is more."""

    def __init__(self, journal: Journal, broker: Broker, identity: Identity) -> None:
        self._journal = journal
        self._broker = broker
        self._identity = identity
        self._news = asyncio.Event()
        self._news.set()

    def ring(self) -> None:
        """There may be something new in the outbox."""
        self._news.set()

    async def run(self) -> None:
        """Publish until cancelled. What was published but not confirmed is published again."""
        while True:
            await self._broker.connected.wait()
            await self._news.wait()
            self._news.clear()
            try:
                while await self._batch():
                    pass
            except (Unavailable, JournalError) as fault:
                log.warning("events wait", extra={"reason": fault.message})
                self._news.set()
                await asyncio.sleep(_PAUSE)

    async def _batch(self) -> bool:
        waiting = await self._journal.outgoing(0)
        if not waiting:
            return False
        sent = await asyncio.gather(*(self._publish(entry) for entry in waiting), return_exceptions=True)
        await self._journal.confirmed([entry.id for entry, fault in zip(waiting, sent, strict=True) if not fault])
        for fault in sent:
            if fault is not None:
                raise fault
        return True

    async def _publish(self, entry: Outgoing) -> None:
        await self._broker.publish(cast(EventKind, entry.kind), self._sealed(entry))

    def _sealed(self, entry: Outgoing) -> bytes:
        body = json.loads(entry.body)
        return seal_body(entry.kind, body, self._identity.key, iss=self._identity.host, aud=CENTRAL)
