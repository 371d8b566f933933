"""The watch mode: how a running orchestrator learns that a GPU fell off or that a disk filled.

Each sample is taken by a short child process (a driver that hangs or crashes takes nothing with it) that measures
GPUs and disks only and ends: nothing stays in memory between two samples. Use::

    async for sample in watch(WatchSettings(disks=(state_folder,))):
        heartbeat["host_check"] = sample            # plain JSON values
        resources.withhold(sample["unfit"])         # "gpu", "disk": give no job that needs it

A sample has

``time``, ``seconds``  when it was made (UTC, ISO 8601) and how long it took;
``gpus``               the GPUs that can be used: ``uuid``, ``name``, ``memory_bytes``, ``compute_capability``,
                       ``mig`` (instances or null);
``disks``              ``path``, ``total_bytes``, ``free_bytes``, ``ok``;
``alarms``             what is wrong now: ``code``, ``what``, ``cure``; none while all is well;
``unfit``              kinds of resource that no job should be given now, from the alarms: ``gpu``, ``disk``.

The codes of the alarms stand in :mod:`fedproc.onboarding.rules.alarms`. An alarm is gone from the next sample once its
cause is. ``gpu`` is unfit while no GPU can be used although there should be some; a host that has lost one of two keeps
working with the other, which ``gpus`` lists.
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

from fedproc.onboarding.model.formatting import GB
from fedproc.onboarding.rules import alarms

LONGEST = 20.0


@dataclass(frozen=True)
class WatchSettings:
    """``disks``: folders that jobs fill. ``reserve_bytes`` must stay free on each.

    ``expected_gpus`` are UUIDs (of GPUs or MIG instances) that must be there from the start, as the settings'
    ``capacity.gpus`` name them; other GPUs are expected once they were seen. ``interval`` is in seconds, from the
    start of one sample to the start of the next.
    """

    disks: tuple[Path, ...]
    reserve_bytes: int = 5 * GB
    expected_gpus: tuple[str, ...] = ()
    interval: float = 60.0


async def watch(settings: WatchSettings) -> AsyncIterator[dict[str, Any]]:
    """One sample after another, the first at once; ends when its task is cancelled or the iterator closed."""
    known = {uuid: uuid for uuid in settings.expected_gpus}
    while True:
        start = monotonic()
        sample = await take_sample(settings, known)
        known |= {device["uuid"]: device["name"] for device in sample["gpus"]}
        yield sample
        await asyncio.sleep(max(0.0, settings.interval - (monotonic() - start)))


async def take_sample(settings: WatchSettings, known: dict[str, str] | None = None) -> dict[str, Any]:
    """One sample. ``known`` maps UUIDs of the GPUs that should be there to their names."""
    started, clock = datetime.now(UTC), monotonic()
    measured = await _measure(settings.disks)
    evaluated = alarms.evaluate(measured, settings.reserve_bytes, known or {})
    return {"time": started.isoformat(timespec="seconds"), "seconds": round(monotonic() - clock, 1), **evaluated}


async def _measure(folders: tuple[Path, ...]) -> Any:
    """What the child printed as JSON, or an ``unknown`` with the reason."""
    try:
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
    except (OSError, RuntimeError) as error:  # no process, no thread, no descriptor is to be had now
        return {"unknown": f"sampling this host could not be started: {error}"}
    try:
        async with asyncio.timeout(LONGEST):
            output, _ = await child.communicate()
        return json.loads(output)
    except TimeoutError:
        return {"unknown": f"sampling this host did not end within {LONGEST:g} s"}
    except ValueError:
        return {"unknown": f"sampling this host failed (exit code {child.returncode})"}
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


def _environment() -> dict[str, str]:
    """So that the child finds this package where this process found it: a folder, site-packages or a zipapp."""
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
