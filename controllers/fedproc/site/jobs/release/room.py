"""Copies of a job's outputs on a disk that is full: they wait for room, and the work is not lost."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
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
    while True:
        try:
            result = await stoppable(work, *arguments)
        except (OSError, CopyError) as error:
            if error.errno not in _FULL:
                raise
            on_wait(WAITING)
            await asyncio.sleep(_PAUSE)
        else:
            on_wait(None)
            return result
