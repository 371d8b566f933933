"""How long to wait before something is tried again."""

from __future__ import annotations

import random


class Backoff:
    """Pauses that double, from the first one to the longest, each up to a half shorter or longer than that.

    Many that lost the same broker so do not come back at the same moment.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._next = first
        self._longest = longest

    def pause(self) -> float:
        """The seconds to wait now."""
        seconds, self._next = self._next, min(self._next * 2, self._longest)
        return seconds * random.uniform(0.5, 1.5)  # noqa: S311

    def reset(self) -> None:
        """It worked: the next pause is the first one again."""
        self._next = self._first
