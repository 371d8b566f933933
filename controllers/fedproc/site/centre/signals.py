"""What the parts of one orchestrator tell those that talk to the centre. Made first, and handed to all."""

from __future__ import annotations

import asyncio
import contextlib
import time

_GAP = 0.2
"""seconds that news wait for more: what changes again and again goes once. What somebody waits for goes at once."""


class Signals:
    """See the module."""

    def __init__(self) -> None:
        self.accept_jobs = Switch(on=True)
        """whether new jobs are taken from their queue"""
        self.outbox = OutboxSignal()
        self.heartbeat = asyncio.Event()
        """what the host says of itself has changed: a heartbeat is due"""


class Switch:
    """Something that is on or off, and may be waited for."""

    def __init__(self, *, on: bool) -> None:
        self._is_on = asyncio.Event()
        self._is_off = asyncio.Event()
        self.set(on)

    @property
    def on(self) -> bool:
        return self._is_on.is_set()

    def set(self, on: bool) -> None:
        """Turn it on or off."""
        now, before = (self._is_on, self._is_off) if on else (self._is_off, self._is_on)
        before.clear()
        now.set()

    async def until(self, on: bool) -> None:
        """Wait until it is so."""
        await (self._is_on if on else self._is_off).wait()


class OutboxSignal:
    """There may be something new in the outbox. It is due soon, or at once where somebody waits for it."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._awaited: set[str] = set()
        self._due_at: float | None = None
        self.publish()

    def publish(self, awaited: str | None = None) -> None:
        """Have it published; ``awaited`` is the job that somebody waits for the news of."""
        if self._due_at is None:
            self._due_at = time.monotonic() + _GAP
        self._news.set()
        if awaited is not None:
            self._awaited.add(awaited)
            self._urgent.set()

    def publish_now(self) -> None:
        """Have all of it published at once: an attempt has failed."""
        self._due_at = time.monotonic()
        self._news.set()

    async def due(self) -> set[str] | None:
        """Wait for something to publish: the jobs whose news are awaited, or None for all that there is."""
        await self._news.wait()
        everything = await self._is_all_due()
        if everything:
            self._news.clear()
            self._due_at = None
        awaited, self._awaited = self._awaited, set()
        self._urgent.clear()
        return None if everything else awaited

    async def _is_all_due(self) -> bool:
        left = (self._due_at or 0.0) - time.monotonic()
        if left > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._urgent.wait()
                return False
        return True
