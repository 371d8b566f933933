"""What the machine has for jobs, who holds how much, and who waits."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedproc.common.errors import RefusedError
from fedproc.contract.tool.task import Resources
from fedproc.contract.wire.messages import Capacity, GpuInfo
from fedproc.site.centre.api import OnWait
from fedproc.site.jobs.resources.backfill import Holder, Request, next_to_start
from fedproc.site.jobs.resources.shares import MB, GpuMissingError, Share, ShareError, free_of, suitable
from fedproc.site.settings import CapacitySettings

ALARM_SECONDS = 600.0
"""that an alarm about GPUs lasts before jobs are refused for it: a driver that is mended by then costs nobody a job"""


@dataclass
class _Waiter:
    job: str
    request: Request
    granted: asyncio.Future[Share] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Pool:
    """The machine's resources, given as :mod:`fedproc.site.jobs.resources.backfill` says; ``clock`` counts seconds.

    A job that could never fit is refused at once, with what is missing. A GPU that was there, or that an alarm is
    about, is waited for for a while: its driver may be silent for a moment.
    """

    def __init__(self, total: Capacity, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._clock = clock
        self._held: dict[str, Share] = {}
        self._until: dict[str, float] = {}
        self._queue: list[_Waiter] = []
        self._stuck = False
        """nobody who waits could start, and nothing has come free since"""
        self._alarm, self._alarm_since = "", 0.0
        self._seen = {gpu.uuid: (gpu, clock()) for gpu in total.gpus}
        """each GPU that should be there, and when it last was"""
        self.withheld: str | None = None

    def fit(self, gpus: tuple[GpuInfo, ...], *, alarm: str = "", withheld: str | None = None) -> None:
        """What can be used by the last sample of the machine: these GPUs (``alarm`` says why others cannot).

        While something is ``withheld``, with its reason, nothing is granted. A waiting job that the machine has
        become too small for is refused; where an alarm may be why, once that has lasted for a while.
        """
        self._total = self._total.model_copy(update={"gpus": gpus})
        self._seen = (self._seen if alarm else {}) | {gpu.uuid: (gpu, self._clock()) for gpu in gpus}
        if alarm and not self._alarm:
            self._alarm_since = self._clock()
        self._alarm, self.withheld, self._stuck = alarm, withheld, False
        for waiter in list(self._queue):
            try:
                self.check(waiter.request.wanted)
            except RefusedError as error:
                self._queue.remove(waiter)
                if not waiter.granted.done():
                    waiter.granted.set_exception(error)
        self._grant()

    def capacity(self) -> Capacity:
        """What there is and how much of it is free, as the heartbeat tells it."""
        return free_of(self._total, self._held.values())

    async def acquire(
        self,
        job: str,
        wanted: Resources,
        on_wait: OnWait = lambda what: None,
        seconds: float | None = None,
        *,
        instead: bool = False,
    ) -> Share:
        """Wait for the job's turn; ``on_wait`` is called with what it waits for, if it must. ``seconds``: how long it
        holds its share at the latest, if that is not the limit of one step. ``instead`` of what it holds, it is the
        next that gets something.

        Raises :class:`RefusedError` if the machine is too small for it altogether.
        """
        if job in self._held and not instead:
            return self._held[job]
        self.check(wanted)
        waiter = _Waiter(job, Request(wanted, seconds or wanted.run_seconds))
        if instead:
            self._queue.insert(0, waiter)
            self.release(job)
        else:
            self._queue.append(waiter)
            self._grant(waiter)
        if not waiter.granted.done():
            on_wait(self.withheld or self._awaited(wanted))
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter in self._queue:
                self._queue.remove(waiter)
            self.release(job)
            raise

    def check(self, wanted: Resources) -> None:
        """Raises :class:`RefusedError` as :meth:`acquire` does; nothing is asked for."""
        since = self._clock() - ALARM_SECONDS
        if self._alarm and not self._seen and self._alarm_since > since:  # how many there are is not known yet
            wanted = wanted.model_copy(update={"gpu": None})
        gpus = tuple(gpu for gpu, at in self._seen.values() if gpu in self._total.gpus or at > since)
        _check_fits(self._total.model_copy(update={"gpus": gpus}), wanted, self._alarm)

    def _awaited(self, wanted: Resources) -> str:
        if wanted.gpu and self._alarm and len(suitable(self._total.gpus, wanted)) < wanted.gpu.count:
            return f"a GPU that this host cannot use just now: {self._alarm}"
        return "CPUs, memory, disk or GPUs that other jobs hold"

    def adopt(self, job: str, share: Share, seconds: float = math.inf) -> None:
        """A job of before a restart holds what it was granted, whatever is free, for so many seconds at the latest.

        Raises :class:`ShareError` if a GPU of it is another job's, :class:`GpuMissingError` if the last sample does not
        have it; until it is released it holds it all the same, since its processes may be there.
        """
        others = {gpu for other, held in self._held.items() if other != job for gpu in held.gpus}
        there = {gpu.uuid for gpu in self._total.gpus}
        self._held[job], self._until[job] = share, self._clock() + seconds
        for gpu in (gpu for gpu in share.gpus if gpu in others):
            raise ShareError(f"GPU {gpu}, which it was granted here, is another job's, too; start it again")
        for gpu in (gpu for gpu in share.gpus if gpu not in there):
            lost = f": {self._alarm}" if self._alarm else ""
            raise GpuMissingError(
                f"GPU {gpu}, which it was granted here, cannot be used any more{lost}; start it again"
            )

    def holds(self, job: str) -> bool:
        """Whether the job holds a share."""
        return job in self._held

    def release(self, job: str) -> None:
        """Give back what the job holds; nothing happens if it holds nothing."""
        self._held.pop(job, None)
        self._until.pop(job, None)
        self._stuck = False
        self._grant()

    def add_disk(self, written: int) -> None:
        """Bytes that were not free when the machine was measured, since jobs have written them that hold a share."""
        self._total = self._total.model_copy(update={"disk": self._total.disk + written})

    def keep_disk_alone(self, job: str, seconds: float) -> None:
        """The job's processes are gone, and what they wrote is not: it holds only the disk any more, for so long."""
        if share := self._held.get(job):
            self._held[job] = replace(share, cpus=0.0, memory=0, gpus=())
            self._until[job] = self._clock() + seconds
            self._stuck = False
            self._grant()

    def _grant(self, newcomer: _Waiter | None = None) -> None:
        """Grant what can be. Where nobody could start before a newcomer came, only he is looked at."""
        while self._queue and self.withheld is None:
            candidates = [self._queue[0], newcomer] if self._stuck and newcomer else self._waiting()
            found = self._next(candidates)
            if found is None:
                self._stuck = True
                return
            place, share = found
            waiter = candidates[place]
            self._queue.remove(waiter)
            self._held[waiter.job] = share
            self._until[waiter.job] = self._clock() + waiter.request.seconds
            waiter.granted.set_result(share)
            if waiter is newcomer:
                return

    def _waiting(self) -> list[_Waiter]:
        self._queue = [waiter for waiter in self._queue if not waiter.granted.done()]
        return self._queue

    def _next(self, candidates: list[_Waiter]) -> tuple[int, Share] | None:
        if not candidates:
            return None
        holders = [Holder(share, self._until[job]) for job, share in self._held.items()]
        return next_to_start(self._total, holders, [waiter.request for waiter in candidates], self._clock())


def _check_fits(total: Capacity, wanted: Resources, alarm: str) -> None:
    missing = []
    if wanted.cpus > total.cpus:
        missing.append(f"{wanted.cpus} CPUs (there are {total.cpus})")
    if wanted.memory_mb * MB > total.memory:
        missing.append(f"{wanted.memory_mb} MB of memory (there are {total.memory // MB})")
    if wanted.disk_mb * MB > total.disk:
        missing.append(f"{wanted.disk_mb} MB of disk (there are {total.disk // MB})")
    if wanted.gpu and len(suitable(total.gpus, wanted)) < wanted.gpu.count:
        lost = f"; {alarm}" if alarm else ""
        there = f"there are {len(total.gpus)} GPUs{lost}"
        missing.append(f"{wanted.gpu.count} GPU(s) with {wanted.gpu.vram_gb} GB ({there})")
    if missing:
        raise RefusedError("needs more than this host has for jobs: " + ", ".join(missing), code="policy.too_large")


def measure(settings: CapacitySettings, folder: Path) -> Capacity:
    """What the machine has, bounded by the settings; a tenth of memory and disk stays the system's own.

    What jobs of an earlier daemon have written is added when they are adopted (:meth:`Pool.add_disk`).

    GPUs are left to :meth:`Pool.fit`, which gets them with every sample of the machine.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = shutil.disk_usage(folder).free
    cpus = settings.cpus or float(len(os.sched_getaffinity(0)))
    memory = settings.memory_mb * MB if settings.memory_mb else memory * 9 // 10
    disk = settings.disk_mb * MB if settings.disk_mb else disk * 9 // 10
    return Capacity(cpus=cpus, cpus_free=cpus, memory=memory, memory_free=memory, disk=disk, disk_free=disk)
