"""Alarms of a running host: a GPU that is lost, a driver that does not answer, a disk that fills.

The codes are ``gpu-lost`` (a GPU that was there before, or is expected, cannot be used; with ``uuid``), ``gpu-driver``
(the driver of a host that has GPUs does not answer), ``disk-full`` (less than the reserve is free, or fewer than 1 % of
the inodes), ``disk-read-only``, ``disk-unreadable`` and ``check-failed`` (the sample could not be taken).
"""

from __future__ import annotations

from typing import Any

from fedproc.onboarding.model.codec import decode
from fedproc.onboarding.model.facts import Disk, Gpu, GpuFacts, Unknown
from fedproc.onboarding.model.formatting import gb
from fedproc.onboarding.rules.gpu import BROKEN_CURE, memory

LEAST_INODES = 0.01


def evaluate(measured: Any, reserve_bytes: int, known: dict[str, str]) -> dict[str, Any]:
    """A sample's ``gpus``, ``disks``, ``alarms`` and ``unfit`` from what was measured."""
    try:
        gpus, disks = _decoded(measured)
    except ValueError as error:
        alarm = _alarm(
            "check-failed", str(error), "see the orchestrator's log; run 'fedproc site check --only gpu,disk'"
        )
        return {"gpus": [], "disks": [], "alarms": [alarm], "unfit": ["gpu", "disk"] if known else ["disk"]}
    usable = [gpu for gpu in gpus.gpus if memory(gpu)] if isinstance(gpus, GpuFacts) else []
    shown = [_disk(path, found, reserve_bytes) for path, found in disks.items()]
    of_disks = {alarm["what"]: alarm for _, alarm in shown if alarm}  # two folders on one disk are one alarm
    alarms = [*_gpu_alarms(gpus, usable, known), *of_disks.values()]
    unfit = [kind for kind, bad in (("gpu", known and not usable), ("disk", any(a for _, a in shown))) if bad]
    return {"gpus": [_gpu(gpu) for gpu in usable], "disks": [d for d, _ in shown], "alarms": alarms, "unfit": unfit}


def _decoded(measured: Any) -> tuple[GpuFacts | Unknown, dict[str, Disk | Unknown]]:
    if not isinstance(measured, dict) or "gpu" not in measured:
        raise ValueError(measured["unknown"] if isinstance(measured, dict) else "sampling this host gave nonsense")
    disks = {path: _either(Disk, data) for path, data in measured["disks"].items()}
    return _either(GpuFacts, measured["gpu"]), disks


def _either(kind: type, data: dict[str, Any]) -> Any:
    return decode(Unknown if set(data) == {"unknown"} else kind, data)


def _gpu_alarms(found: GpuFacts | Unknown, usable: list[Gpu], known: dict[str, str]) -> list[dict[str, str]]:
    """While the driver answers nothing, which GPUs are lost cannot be told: one alarm then, for the driver."""
    if isinstance(found, Unknown) or found.state in ("broken", "unknown"):
        has_card = isinstance(found, GpuFacts) and any(card.startswith("NVIDIA") for card in found.cards)
        reason = found.unknown if isinstance(found, Unknown) else found.reason
        return [_alarm("gpu-driver", reason, BROKEN_CURE)] if known or has_card else []
    reasons = {gpu.uuid: gpu.fault for gpu in found.gpus if gpu.fault}
    nameless = "; ".join(gpu.fault for gpu in found.gpus if gpu.fault and not gpu.uuid)
    here = {uuid for gpu in usable for uuid in (gpu.uuid, *(instance.uuid for instance in gpu.mig or ()))}
    return [
        _alarm("gpu-lost", f"{name} cannot be used: {reasons.get(uuid) or nameless or 'it is gone'}", BROKEN_CURE)
        | {"uuid": uuid}
        for uuid, name in known.items()
        if uuid not in here
    ]


def _gpu(gpu: Gpu) -> dict[str, Any]:
    mig = (
        None if gpu.mig is None else [{"uuid": i.uuid, "name": i.name, "memory_bytes": i.memory_bytes} for i in gpu.mig]
    )
    names = ("uuid", "name", "memory_bytes", "compute_capability")
    return {**{name: getattr(gpu, name) for name in names}, "mig": mig}


def _disk(path: str, found: Disk | Unknown, reserve: int) -> tuple[dict[str, Any], dict[str, str] | None]:
    if isinstance(found, Unknown):
        unreadable = _alarm("disk-unreadable", f"{path}: {found.unknown}", f"see why 'df {path}' does not answer")
        return {"path": path, "total_bytes": None, "free_bytes": None, "ok": False}, unreadable
    shown = {"path": path, "total_bytes": found.total_bytes, "free_bytes": found.free_bytes}
    alarm = _disk_alarm(found, reserve)
    return {**shown, "ok": alarm is None}, alarm


def _disk_alarm(disk: Disk, reserve: int) -> dict[str, str] | None:
    if disk.read_only:
        return _alarm(
            "disk-read-only", f"{disk.mount} became read-only", "see 'dmesg', repair it and mount it writable"
        )
    cure = f"free space on {disk.mount}; no job is started until then"
    if disk.free_bytes < reserve:
        return _alarm(
            "disk-full", f"{gb(disk.free_bytes)} free on {disk.mount}, {gb(reserve)} are kept in reserve", cure
        )
    if disk.total_inodes and disk.free_inodes < disk.total_inodes * LEAST_INODES:
        return _alarm("disk-full", f"{disk.free_inodes} of {disk.total_inodes} inodes free on {disk.mount}", cure)
    return None


def _alarm(code: str, what: str, cure: str) -> dict[str, str]:
    return {"code": code, "what": what, "cure": cure}
