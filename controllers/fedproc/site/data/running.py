"""Work on files in threads of their own: a share may hang, and must keep nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fedproc.common.tasks import StopFlag, in_own_thread

T = TypeVar("T")


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """What ``work(*arguments, flag)`` returns; the flag is set as soon as nobody waits any more."""
    flag = StopFlag()
    try:
        return await in_own_thread(work, *arguments, flag)
    finally:
        flag.set()
