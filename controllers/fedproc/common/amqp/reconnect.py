"""A session that is lost is made again, after pauses that grow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

from fedproc.common.amqp.session import Session
from fedproc.common.errors import FedprocError
from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff

log = get_logger(__name__)

FIRST_PAUSE = 0.2
WORKED_SECONDS = 5.0
"""A session that was open for so long was more than a beginning: the pauses begin anew after it."""


async def keep_connected(
    connect: Callable[[], Awaitable[Session]],
    use: Callable[[Session], Awaitable[None]],
    away: Callable[[str], None],
    longest_pause: float,
) -> NoReturn:
    """``use`` a session for as long as it lasts, and the next one, until cancelled; ``away`` is told why one ended."""
    backoff = Backoff(FIRST_PAUSE, longest_pause)
    while True:
        since, reason = None, "the session ended"
        try:
            async with await connect() as session:
                since = time.monotonic()
                await use(session)
        except (FedprocError, OSError) as error:
            reason = str(error) or type(error).__name__
        away(reason)
        if since is not None and time.monotonic() - since >= WORKED_SECONDS:
            backoff.reset()
        pause = backoff.pause()
        log.warning("broker.disconnected", reason=reason, pause_seconds=round(pause, 1))
        await asyncio.sleep(pause)
