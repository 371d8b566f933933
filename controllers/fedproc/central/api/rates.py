"""How often somebody may ask: a bucket that fills evenly. Each API process counts what it gets itself."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from fedproc.common.errors import TooManyRequestsError

_REMEMBERED = 20_000
"""users; who has not asked for longest is forgotten first, and then has a full bucket"""


class Bucket:
    """Holds what ``most`` in a minute come to, full at first."""

    __slots__ = ("_at", "_level")

    def __init__(self, most: float, now: float) -> None:
        self._level = most
        self._at = now

    def take(self, most: float, now: float) -> float:
        """Take one: 0, or the seconds until there is one."""
        self._level = min(most, self._level + max(0.0, now - self._at) * most / 60)
        self._at = now
        if self._level >= 1:
            self._level -= 1
            return 0.0
        return (1 - self._level) * 60 / most


class Rates:
    """The requests of each user; ``most`` says how many a minute a user may send."""

    def __init__(self, most: Callable[[str], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def count(self, user: str) -> None:
        """One more request. Raises :class:`TooManyRequestsError`, which says when the next one is good."""
        most, now = self._most(user), self._clock()
        bucket = self._buckets.get(user)
        if bucket is None:
            bucket = self._buckets[user] = Bucket(most, now)
            if len(self._buckets) > _REMEMBERED:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(user)
        if wait := bucket.take(most, now):
            seconds = math.ceil(wait)
            raise TooManyRequestsError(
                f"you may send {most} requests a minute; send the next in {seconds} s. fedproc follow ID, or the "
                "experiment's event stream, spares asking again and again; or ask the federation's operator for more",
                code="rate.user",
                headers={"Retry-After": str(seconds)},
            )
