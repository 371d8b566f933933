"""Which waiting job starts next: the first, or one that keeps it waiting no longer (EASY backfill, Lifka 1995).

The first in the queue has a reservation: the moment in which, by the time limits of those that hold something, enough
is free for it. Another job may pass it if it is over by then, or takes only what the reservation leaves. So a small job
does not wait behind one that needs a GPU, and no stream of small jobs keeps that one waiting for ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedproc.contract.tool.task import Resources
from fedproc.contract.wire.messages import Capacity
from fedproc.site.jobs.resources.shares import Share, fitting, free_of


@dataclass(frozen=True)
class Holder:
    """Who holds a share, until a moment of the pool's clock at the latest."""

    share: Share
    until: float


@dataclass(frozen=True)
class Request:
    """A job that waits, and for how many seconds it may run once it starts."""

    wanted: Resources
    seconds: float


def next_to_start(
    total: Capacity, holders: Iterable[Holder], queue: Sequence[Request], now: float
) -> tuple[int, Share] | None:
    """The place in the queue of the job that may start now, and what it gets; None if all have to wait."""
    held = list(holders)
    free = free_of(total, (holder.share for holder in held))
    if (share := fitting(free, queue[0].wanted)) is not None:
        return 0, share
    moment, left = _reservation(total, held, queue[0], now)
    for_longer = _both(free, left)
    for place, request in enumerate(queue[1:], start=1):
        room = free if now + request.seconds <= moment else for_longer
        if (share := fitting(room, request.wanted)) is not None:
            return place, share
    return None


def _reservation(total: Capacity, holders: Sequence[Holder], first: Request, now: float) -> tuple[float, Capacity]:
    """When the first job can start, and what is free beside it then. Who is over his time may end at any moment."""
    staying = sorted(holders, key=lambda holder: holder.until)
    moment = now
    while staying:
        moment = max(now, staying.pop(0).until)
        shares = [holder.share for holder in staying]
        if (share := fitting(free_of(total, shares), first.wanted)) is not None:
            return moment, free_of(total, [*shares, share])
    return math.inf, total


def _both(one: Capacity, other: Capacity) -> Capacity:
    """What is free in both."""
    free = {gpu.uuid for gpu in other.gpus if gpu.free}
    return one.model_copy(
        update={
            "cpus_free": min(one.cpus_free, other.cpus_free),
            "memory_free": min(one.memory_free, other.memory_free),
            "disk_free": min(one.disk_free, other.disk_free),
            "gpus": tuple(gpu.model_copy(update={"free": gpu.free and gpu.uuid in free}) for gpu in one.gpus),
        }
    )
