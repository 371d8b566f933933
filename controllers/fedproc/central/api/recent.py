"""An answer that costs something, kept for a moment: however often it is asked for, it is found once in that time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Keeps what was found for ``seconds``; callers that come at once wait for one search."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._kept: tuple[float, T] | None = None

    async def get(self, find: Callable[[], Awaitable[T]]) -> T:
        async with self._lock:
            if self._kept is None or time.monotonic() >= self._kept[0] + self._seconds:
                found = await find()
                self._kept = time.monotonic(), found
            return self._kept[1]
