"""Brings traces to the service: at least once each, the oldest first, with growing pauses while it is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, Row

from fedproc.central.db.engine import write_transaction
from fedproc.central.db.repositories import audits, traces
from fedproc.central.settings import TracingSettings
from fedproc.central.tracing.service import RefusedError, TracingService
from fedproc.common.errors import UnavailableError
from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff

log = get_logger(__name__)

ACTOR = "tracing"
_AT_ONCE = 20
_FIRST, _LONGEST = 2.0, 300.0
"""seconds of pause while the service is away"""
_LONGEST_OF_ONE = 3600.0
_TICK = 5.0


class TraceSender:
    """One per relay; of several each claims traces of its own. :meth:`run` ends only when it is cancelled."""

    def __init__(self, engine: Engine, settings: TracingSettings, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._service = TracingService(settings)
        self._lease = _AT_ONCE * (2 * settings.seconds + 1)
        self._backoff = Backoff(_FIRST, _LONGEST)
        self._is_away = False

    async def run(self) -> None:
        """Send what is due, for ever: no fault of it is a reason for the relay, in which it runs, to end."""
        while True:
            await asyncio.sleep(await asyncio.to_thread(self._pass))

    def _pass(self) -> float:
        """Seconds until the next."""
        try:
            sent = self.send_some()
        except Exception as error:
            if not isinstance(error, UnavailableError):
                log.exception("tracing.failed")
                return self._backoff.pause()
            pause = self._backoff.pause()
            if not self._is_away:
                log.warning("tracing.waiting", reason=error.message, pause=round(pause))
            self._is_away = True
            return pause
        if self._is_away:
            log.info("tracing.answers_again")
        self._is_away = False
        self._backoff.reset()
        return 0.0 if sent == _AT_ONCE else _TICK

    def send_some(self) -> int:
        """Send the oldest that are due; how many were done with.

        Raises :class:`UnavailableError` at the first that the service could not take now: the others wait as well.
        """
        now = self._clock()
        with write_transaction(self._engine) as connection:
            rows = traces.claim(connection, now, now + self._lease, _AT_ONCE)
        for place, row in enumerate(rows):
            try:
                self._send(row)
            except UnavailableError as error:
                with write_transaction(self._engine) as connection:
                    traces.put_off(connection, row.id, error.message[:500], self._clock() + _after(row.attempts))
                    traces.release(connection, [each.id for each in rows[place + 1 :]], self._clock())
                raise
        return len(rows)

    def _send(self, row: Row[Any]) -> None:
        if not self._service.takes(row):
            return self._end(row, "trace_not_told", "the service has no word for it", traces.delivered)
        try:
            self._service.send(row)
        except RefusedError as error:
            reason = str(error)
            log.error("tracing.refused", experiment=row.experiment, reason=reason)

            def refuse(connection: Any, trace: int, now: float) -> None:
                traces.refused(connection, trace, reason[:500], now)

            return self._end(row, "trace_refused", reason, refuse)
        return self._end(row, "trace_delivered", f"{row.kind} {row.key}", traces.delivered)

    def _end(self, row: Row[Any], action: str, detail: str, mark: Callable[..., None]) -> None:
        """Mark and audit in one transaction: who dies before it sends the trace again, under the same key."""
        now = self._clock()
        with write_transaction(self._engine) as connection:
            mark(connection, row.id, now)
            audits.add(connection, ACTOR, action, row.experiment, detail, now)


def _after(attempts: int) -> float:
    """Seconds: a trace at which the service always fails comes again more and more seldom, and the others go before."""
    return float(min(_FIRST * 2 ** min(attempts, 20), _LONGEST_OF_ONE))
