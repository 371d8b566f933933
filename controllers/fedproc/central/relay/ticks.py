"""The relay's look at what ends by the clock, which may leap, and which goes on while the relay does not."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, Engine

from fedproc.central.db.engine import serialized_transaction
from fedproc.central.experiments import deadlines
from fedproc.central.retention import clock
from fedproc.common.log import get_logger

log = get_logger(__name__)

_LEAP = 60.0
"""seconds by which the clock may be set from one look to the next, as a time service does it"""
_PAUSE = 60.0
"""seconds without a look after which the relay may not have heard hosts, either: its machine slept, or its database
was gone"""


class Ticks:
    """Of one relay. ``now`` is the centre's clock, in seconds since 1970; ``elapsed`` is set by nobody."""

    def __init__(
        self,
        engine: Engine,
        now: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._now = now
        self._elapsed = elapsed
        self._doubts = clock.Doubts("deadlines.clock_doubted", "no job is ended by the clock", elapsed)
        self._last: tuple[float, float] | None = None
        """by both, when it was last looked"""
        self._listening: float | None = None
        """by ``elapsed``"""
        self._leapt: float | None = None

    def hears(self) -> None:
        """Hosts are heard from now on, unless they were before."""
        if self._listening is None:
            self._listening = self._elapsed()

    def hears_nobody(self) -> None:
        """No host's silence counts until they are heard again."""
        self._listening = None

    def tick(self) -> bool:
        """End what is over, unless the clock is in doubt; says whether anything was. Blocks.

        Raises :class:`fedproc.common.errors.UnavailableError`.
        """
        now, elapsed = self._now(), self._elapsed()
        self._compare(now, elapsed)
        since = None if self._listening is None else now - (elapsed - self._listening)
        with serialized_transaction(self._engine) as connection:
            changed = deadlines.pass_deadlines(connection, now, since, lambda: self._is_sure(connection, now))
        self._last = now, elapsed
        return changed

    def _compare(self, now: float, elapsed: float) -> None:
        if self._last is None:
            return
        passed = elapsed - self._last[1]
        leap = now - self._last[0] - passed
        if abs(leap) > _LEAP:
            log.warning("deadlines.clock_leapt", seconds=round(leap))
            self._leapt = now
        if self._listening is not None and (abs(leap) > _LEAP or passed > _PAUSE):
            self._listening = elapsed  # what hosts said before is old by this clock, or was heard by nobody

    def _is_sure(self, connection: Connection, now: float) -> bool:
        found = clock.doubt(connection, now, self._leapt)
        if found is None:
            self._leapt = None
        return not self._doubts.hold(found)
