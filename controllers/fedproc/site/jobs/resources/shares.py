"""What one job holds of its machine, and what of a machine fits a job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fedproc.common.errors import SystemFaultError
from fedproc.contract.tool.task import Resources
from fedproc.contract.wire.messages import Capacity, GpuInfo

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


def free_of(total: Capacity, shares: Iterable[Share]) -> Capacity:
    """What there is, and what of it is free beside those who hold ``shares``."""
    held = list(shares)
    taken = {gpu for share in held for gpu in share.gpus}
    return total.model_copy(
        update={
            "cpus_free": total.cpus - sum(share.cpus for share in held),
            "memory_free": total.memory - sum(share.memory for share in held),
            "disk_free": total.disk - sum(share.disk for share in held),
            "gpus": tuple(g.model_copy(update={"free": g.uuid not in taken}) for g in total.gpus),
        }
    )


def suitable(gpus: Iterable[GpuInfo], wanted: Resources) -> list[GpuInfo]:
    """The GPUs that are enough for a job, the least of them first: the larger ones are left to who needs them."""
    if wanted.gpu is None:
        return []
    vram, capability = wanted.gpu.vram_gb * 1e9, wanted.gpu.compute_capability
    return sorted(
        (g for g in gpus if g.vram >= vram and (g.compute_capability or 0) >= capability), key=lambda g: g.vram
    )


def fitting(free: Capacity, wanted: Resources) -> Share | None:
    """The share of what is ``free`` that a job would get; None if it is not enough."""
    gpus = [g for g in suitable(free.gpus, wanted) if g.free]
    count = wanted.gpu.count if wanted.gpu else 0
    share = Share(wanted.cpus, wanted.memory_mb * MB, wanted.disk_mb * MB, tuple(g.uuid for g in gpus[:count]))
    enough = (
        share.cpus <= free.cpus_free + 1e-9
        and share.memory <= free.memory_free
        and share.disk <= free.disk_free
        and len(share.gpus) == count
    )
    return share if enough else None
