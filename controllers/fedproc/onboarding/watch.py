"""The watch mode: how a running orchestrator learns that a GPU fell off or that a disk filled.

Each look is a short child process (a driver that hangs or crashes takes nothing with it) that measures GPUs and
disks only and ends: nothing stays in memory between two looks. Use::

    async for look in watch(WatchSettings(disks=(state_folder,))):
        heartbeat["host_check"] = look              # plain JSON values
        resources.withhold(look["unfit"])           # "gpu", "disk": give no job that needs it

A look has

``time``, ``seconds``  when it was made (UTC, ISO 8601) and how long it took;
``gpus``               the GPUs that can be used: ``uuid``, ``name``, ``memory_bytes``, ``compute_capability``,
                       ``mig`` (instances or null);
``disks``              ``path``, ``total_bytes``, ``free_bytes``, ``ok``;
``alarms``             what is wrong now: ``code``, ``what``, ``cure``; none while all is well;
``unfit``              kinds of resource that no job should be given now, from the alarms: ``gpu``, ``disk``.

Alarm codes: ``gpu-lost`` (a GPU that was there before, or is expected, cannot be used; with ``uuid``),
``gpu-driver`` (the driver of a host that has GPUs does not answer), ``disk-full`` (less than the reserve is free, or
fewer than 1 % of the inodes), ``disk-read-only``, ``disk-unreadable``, ``check-failed`` (the look itself did not end).
An alarm is gone from the next look once its cause is. ``gpu`` is unfit while no GPU can be used although there should
be some; a host that has lost one of two keeps working with the other, which ``gpus`` lists.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from fedproc.onboarding.model.codec import decode
from fedproc.onboarding.model.facts import Disk, Gpu, GpuFacts, Unknown
from fedproc.onboarding.model.formatting import GB, gb
from fedproc.onboarding.rules.gpu import BROKEN_CURE, memory

LONGEST = 20.0
LEAST_INODES = 0.01


@dataclass(frozen=True)
class WatchSettings:
    """``disks``: folders that jobs fill. ``reserve_bytes`` must stay free on each.

    ``expected_gpus`` are UUIDs (of GPUs or MIG instances) that must be there from the start, as the settings'
    ``capacity.gpus`` name them; other GPUs are expected once they were seen. ``interval`` is in seconds, from the
    start of one look to the start of the next.
    """

    disks: tuple[Path, ...]
    reserve_bytes: int = 5 * GB
    expected_gpus: tuple[str, ...] = ()
    interval: float = 60.0


async def watch(settings: WatchSettings) -> AsyncIterator[dict[str, Any]]:
    """One look after another, the first at once; ends when its task is cancelled or the iterator closed."""
    known = {uuid: uuid for uuid in settings.expected_gpus}
    while True:
        start = monotonic()
        look = await look_once(settings, known)
        known |= {device["uuid"]: device["name"] for device in look["gpus"]}
        yield look
        await asyncio.sleep(max(0.0, settings.interval - (monotonic() - start)))


async def look_once(settings: WatchSettings, known: dict[str, str] | None = None) -> dict[str, Any]:
    """One look. ``known`` maps UUIDs of the GPUs that should be there to their names."""
    started, clock = datetime.now(UTC), monotonic()
    measured = await _measure(settings.disks)
    look = judge(measured, settings, known or {})
    return {"time": started.isoformat(timespec="seconds"), "seconds": round(monotonic() - clock, 1), **look}


async def _measure(folders: tuple[Path, ...]) -> Any:
    """What the child printed as JSON, or an ``unknown`` with the reason."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fedproc.onboarding.probes.sample",
        *map(str, folders),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_environment(),
    )
    try:
        async with asyncio.timeout(LONGEST):
            output, _ = await child.communicate()
        return json.loads(output)
    except TimeoutError:
        return {"unknown": f"the look at this host did not end within {LONGEST:g} s"}
    except ValueError:
        return {"unknown": f"the look at this host failed (exit code {child.returncode})"}
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


def _environment() -> dict[str, str]:
    """So that the child finds this package where this process found it: a folder, site-packages or a zipapp."""
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


def judge(measured: Any, settings: WatchSettings, known: dict[str, str]) -> dict[str, Any]:
    """A look's ``gpus``, ``disks``, ``alarms`` and ``unfit`` from what was measured."""
    try:
        gpus, disks = _decoded(measured)
    except ValueError as fault:
        alarm = _alarm(
            "check-failed", str(fault), "see the orchestrator's log; run 'fedproc site check --only gpu,disk'"
        )
        return {"gpus": [], "disks": [], "alarms": [alarm], "unfit": ["gpu", "disk"] if known else ["disk"]}
    usable = [gpu for gpu in gpus.gpus if memory(gpu)] if isinstance(gpus, GpuFacts) else []
    shown = [_disk(path, found, settings.reserve_bytes) for path, found in disks.items()]
    of_disks = {alarm["what"]: alarm for _, alarm in shown if alarm}  # two folders on one disk are one alarm
    alarms = [*_gpu_alarms(gpus, usable, known), *of_disks.values()]
    unfit = [kind for kind, bad in (("gpu", known and not usable), ("disk", any(a for _, a in shown))) if bad]
    return {"gpus": [_gpu(gpu) for gpu in usable], "disks": [d for d, _ in shown], "alarms": alarms, "unfit": unfit}


def _decoded(measured: Any) -> tuple[GpuFacts | Unknown, dict[str, Disk | Unknown]]:
    if not isinstance(measured, dict) or "gpu" not in measured:
        raise ValueError(measured["unknown"] if isinstance(measured, dict) else "the look at this host gave nonsense")
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
