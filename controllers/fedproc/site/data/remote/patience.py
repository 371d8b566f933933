"""Attempts at what a PACS or a Data API does not give at once: how often, how long apart, and at which hours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from fedproc.common.log import get_logger
from fedproc.site.data.api import OnWait
from fedproc.site.data.remote.errors import RemotePassingError
from fedproc.site.dataset_settings import FetchingSettings

log = get_logger(__name__)
T = TypeVar("T")
_LOOK_SECONDS = 30.0
_LONGEST_PAUSE = 600.0


async def persistently(
    fetching: FetchingSettings, dataset: str, attempt: Callable[[], Awaitable[T]], on_wait: OnWait,
    progress: Callable[[], int] = lambda: 0,
) -> T:  # fmt: skip
    """What ``attempt`` gives at last. Attempts are counted anew as long as ``progress`` grows.

    Raises :class:`RemotePassingError` when there were as many as the settings allow, and what else it raises at once.
    """
    failed, reached = 0, progress()
    while True:
        try:
            return await attempt()
        except RemotePassingError as error:
            failed, reached = (failed + 1 if progress() <= reached else 1), progress()
            if failed >= fetching.attempts:
                raise
            pause = min(fetching.wait_seconds * 2 ** (failed - 1), max(_LONGEST_PAUSE, fetching.wait_seconds))
            log.warning("dataset.waiting", dataset=dataset, reason=str(error), pause_seconds=pause)
            on_wait(f"the source of {dataset!r} does not answer; it is asked again in {pause:g} s")
            await asyncio.sleep(pause)


class HoursOverError(Exception):
    """What was begun within the site's hours has gone beyond them; what has come is kept."""


async def within_hours(
    fetching: FetchingSettings, dataset: str, attempt: Callable[[], Awaitable[T]], on_wait: OnWait
) -> T:
    """What ``attempt`` gives; it waits for the site's hours, and for the next ones when it raises HoursOverError."""
    while True:
        await until_open(fetching, dataset, on_wait)
        try:
            return await attempt()
        except HoursOverError:
            log.info("dataset.hours_over", dataset=dataset, hours=fetching.hours)


def check_hours(fetching: FetchingSettings) -> None:
    """Raises :class:`HoursOverError` outside the site's hours."""
    if not _is_open(fetching):
        raise HoursOverError


async def until_open(fetching: FetchingSettings, dataset: str, on_wait: OnWait) -> None:
    """Wait for the hours at which the site lets images be fetched."""
    while not _is_open(fetching):
        on_wait(f"the hours at which {dataset!r} is fetched here: {fetching.hours}")
        await asyncio.sleep(_LOOK_SECONDS)


def _is_open(fetching: FetchingSettings) -> bool:
    return fetching.is_open(datetime.now().astimezone().time())
