"""Live event streams: one listener on the bell for all of them, and no question to the database without a ring."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fedproc.central.bell import Bell
from fedproc.central.metrics import Metrics

log = logging.getLogger(__name__)

SAFETY_LOOK = 15.0
"""Seconds after which a stream looks into the database and sends a comment, even if no bell rang."""


class Streams:
    """Wakes every open stream when the bell rings for events."""

    def __init__(self, bell: Bell, metrics: Metrics) -> None:
        self._bell = bell
        self._metrics = metrics
        self._open: set[asyncio.Event] = set()
        self.ending = False

    async def listen(self) -> None:
        """Run until cancelled; a listener that breaks is started again, and the streams' own look covers the gap."""
        while True:
            try:
                await self._bell.listen(self._heard)
            except Exception:
                log.exception("bell is silent; listening again in 1 s")
                await asyncio.sleep(1)

    def _heard(self, topic: str) -> None:
        if topic == "events":
            self._wake()

    def _wake(self) -> None:
        for news in self._open:
            news.set()

    def end(self) -> None:
        """Have every stream end now: the program is about to stop, and clients come back with Last-Event-ID."""
        self.ending = True
        self._wake()

    @contextmanager
    def opened(self) -> Iterator[asyncio.Event]:
        """An event of one stream's own, set at each ring."""
        news = asyncio.Event()
        self._open.add(news)
        self._metrics.streams.inc()
        try:
            yield news
        finally:
            self._open.discard(news)
            self._metrics.streams.dec()
