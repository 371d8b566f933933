"""What is written of a job's outputs on a disk that is full: it waits for room, and the work is not lost."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from fedproc.common.tasks import stoppable
from fedproc.site.centre.api import OnWait
from fedproc.site.jobs.workspace import CopyError

T = TypeVar("T")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PAUSE = 10.0
WAITING = "room on this host's disk for the copy of its outputs; the site must make some"


async def with_room(on_wait: OnWait, work: Callable[..., T], *arguments: Any) -> T:
    """What :func:`stoppable` gives, as often as it takes while the disk is full; ``work`` may be done again."""
    return await _with_room(on_wait, partial(stoppable, work, *arguments))


async def written_with_room(on_wait: OnWait, work: Callable[..., T], *arguments: Any) -> T:
    """The same for ``work(*arguments)``, which is short: nothing stops it."""
    return await _with_room(on_wait, partial(asyncio.to_thread, work, *arguments))


async def _with_room(on_wait: OnWait, attempt: Callable[[], Awaitable[T]]) -> T:
    waited = False
    while True:
        try:
            result = await attempt()
        except (OSError, CopyError) as error:
            if error.errno not in _FULL:
                raise
            waited = True
            on_wait(WAITING)
            await asyncio.sleep(_PAUSE)
        else:
            if waited:
                on_wait(None)
            return result
