"""What the machine has for jobs, who holds how much, and who waits: first come, first served."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fedproc.common.errors import RefusedError, SystemFaultError
from fedproc.contract.tool.task import Resources
from fedproc.contract.wire.messages import Capacity, GpuInfo
from fedproc.site.centre.api import OnWait
from fedproc.site.settings import CapacitySettings

MB = 1_000_000


class ShareError(SystemFaultError):
    """What a job was granted before a restart cannot be its own any more."""

    code = "system_fault.share"


class GpuMissingError(ShareError):
    """A GPU that a job was granted is not in the last sample of this host's GPUs."""


@dataclass(frozen=True)
class Share:
    """What one job holds: CPUs, bytes of memory and disk, UUIDs of GPUs."""

    cpus: float
    memory: int
    disk: int
    gpus: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return {"cpus": self.cpus, "memory": self.memory, "disk": self.disk, "gpus": list(self.gpus)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Share:
        """What :meth:`as_json` gave. Raises :class:`ShareError` for anything else."""
        try:
            return cls(**{**values, "gpus": tuple(values.get("gpus", ()))})
        except TypeError as error:
            raise ShareError(f"the journal does not say what the job was granted here ({error})") from error


@dataclass
class _Waiter:
    job: str
    wanted: Resources
    granted: asyncio.Future[Share] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Pool:
    """The machine's resources. A job that could never fit is refused at once, with what is missing."""

    def __init__(self, total: Capacity) -> None:
        self._total = total
        self._held: dict[str, Share] = {}
        self._queue: deque[_Waiter] = deque()
        self._alarm = ""
        self.withheld: str | None = None

    def fit(self, gpus: tuple[GpuInfo, ...], *, alarm: str = "", withheld: str | None = None) -> None:
        """What can be used by the last sample of the machine: these GPUs (``alarm`` says why others cannot).

        While something is ``withheld``, with its reason, nothing is granted. A waiting job that the machine has
        become too small for is refused.
        """
        self._total = self._total.model_copy(update={"gpus": gpus})
        self._alarm, self.withheld = alarm, withheld
        for waiter in list(self._queue):
            try:
                _check_fits(self._total, waiter.wanted, alarm)
            except RefusedError as error:
                self._queue.remove(waiter)
                if not waiter.granted.done():
                    waiter.granted.set_exception(error)
        self._grant()

    def capacity(self) -> Capacity:
        """What there is and how much of it is free, as the heartbeat tells it."""
        held = self._held.values()
        taken = {gpu for share in held for gpu in share.gpus}
        return self._total.model_copy(
            update={
                "cpus_free": self._total.cpus - sum(share.cpus for share in held),
                "memory_free": self._total.memory - sum(share.memory for share in held),
                "disk_free": self._total.disk - sum(share.disk for share in held),
                "gpus": tuple(g.model_copy(update={"free": g.uuid not in taken}) for g in self._total.gpus),
            }
        )

    async def acquire(self, job: str, wanted: Resources, on_wait: OnWait = lambda what: None) -> Share:
        """Wait for the job's turn; ``on_wait`` is called with what it waits for, if it must.

        Raises :class:`RefusedError` if the machine is too small for it altogether.
        """
        if job in self._held:
            return self._held[job]
        _check_fits(self._total, wanted, self._alarm)
        waiter = _Waiter(job, wanted)
        self._queue.append(waiter)
        self._grant()
        if not waiter.granted.done():
            on_wait(self.withheld or "CPUs, memory, disk or GPUs that other jobs hold")
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter in self._queue:
                self._queue.remove(waiter)
            self.release(job)
            raise

    def adopt(self, job: str, share: Share) -> None:
        """A job of before a restart holds what it was granted, whatever is free.

        Raises :class:`ShareError` if a GPU of it is another job's, :class:`GpuMissingError` if the last sample does not
        have it; until it is released it holds it all the same, since its processes may be there.
        """
        others = {gpu for other, held in self._held.items() if other != job for gpu in held.gpus}
        there = {gpu.uuid for gpu in self._total.gpus}
        self._held[job] = share
        for gpu in share.gpus:
            if gpu in others:
                raise ShareError(f"GPU {gpu}, which it was granted here, is another job's, too; start it again")
            if gpu not in there:
                lost = f": {self._alarm}" if self._alarm else ""
                raise GpuMissingError(
                    f"GPU {gpu}, which it was granted here, cannot be used any more{lost}; start it again"
                )

    def release(self, job: str) -> None:
        """Give back what the job holds; nothing happens if it holds nothing."""
        self._held.pop(job, None)
        self._grant()

    def keep_disk_alone(self, job: str) -> None:
        """The job's processes are gone, and what they wrote is not: it holds only the disk any more."""
        if share := self._held.get(job):
            self._held[job] = replace(share, cpus=0.0, memory=0, gpus=())
            self._grant()

    def _grant(self) -> None:
        while self._queue and self.withheld is None:
            share = _share(self.capacity(), self._queue[0].wanted)
            if share is None:
                return
            waiter = self._queue.popleft()
            if not waiter.granted.done():
                self._held[waiter.job] = share
                waiter.granted.set_result(share)


def _suitable(gpus: tuple[GpuInfo, ...], wanted: Resources) -> list[GpuInfo]:
    if wanted.gpu is None:
        return []
    vram, capability = wanted.gpu.vram_gb * 1e9, wanted.gpu.compute_capability
    return [g for g in gpus if g.vram >= vram and (g.compute_capability or 0) >= capability]


def _check_fits(total: Capacity, wanted: Resources, alarm: str) -> None:
    missing = []
    if wanted.cpus > total.cpus:
        missing.append(f"{wanted.cpus} CPUs (there are {total.cpus})")
    if wanted.memory_mb * MB > total.memory:
        missing.append(f"{wanted.memory_mb} MB of memory (there are {total.memory // MB})")
    if wanted.disk_mb * MB > total.disk:
        missing.append(f"{wanted.disk_mb} MB of disk (there are {total.disk // MB})")
    if wanted.gpu and len(_suitable(total.gpus, wanted)) < wanted.gpu.count:
        lost = f"; {alarm}" if alarm else ""
        there = f"there are {len(total.gpus)} GPUs{lost}"
        missing.append(f"{wanted.gpu.count} GPU(s) with {wanted.gpu.vram_gb} GB ({there})")
    if missing:
        raise RefusedError("needs more than this host has for jobs: " + ", ".join(missing), code="policy.too_large")


def _share(free: Capacity, wanted: Resources) -> Share | None:
    gpus = [g for g in _suitable(free.gpus, wanted) if g.free]
    count = wanted.gpu.count if wanted.gpu else 0
    share = Share(wanted.cpus, wanted.memory_mb * MB, wanted.disk_mb * MB, tuple(g.uuid for g in gpus[:count]))
    enough = (
        share.cpus <= free.cpus_free + 1e-9
        and share.memory <= free.memory_free
        and share.disk <= free.disk_free
        and len(share.gpus) == count
    )
    return share if enough else None


def measure(settings: CapacitySettings, folder: Path) -> Capacity:
    """What the machine has, bounded by the settings; a tenth of memory and disk stays the system's own.

    GPUs are left to :meth:`Pool.fit`, which gets them with every sample of the machine.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = shutil.disk_usage(folder).free
    cpus = settings.cpus or float(len(os.sched_getaffinity(0)))
    memory = settings.memory_mb * MB if settings.memory_mb else memory * 9 // 10
    disk = settings.disk_mb * MB if settings.disk_mb else disk * 9 // 10
    return Capacity(cpus=cpus, cpus_free=cpus, memory=memory, memory_free=memory, disk=disk, disk_free=disk)
