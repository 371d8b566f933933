"""The Apptainer executor: images that this host has unpacked, run by ``apptainer exec``, supervised by the job runner.

Runner, control groups, user ids, records and output are the sandbox's; Apptainer makes what the job sees.
"""

from __future__ import annotations

import asyncio
import re
from asyncio.subprocess import DEVNULL, PIPE

from fedproc.site.executors.base import Offer
from fedproc.site.executors.runner.apptainer import PLACES, program
from fedproc.site.executors.sandbox import SandboxExecutor

OLDEST = (1, 1)
"""before it there is no --no-eval, without which a job's variables are read by a shell"""
_ANSWER_SECONDS = 20.0


class ApptainerExecutor(SandboxExecutor):
    """Implements :class:`fedproc.site.executors.base.Executor` over the runner's socket."""

    name = "apptainer"
    by = "apptainer"

    async def offer(self) -> Offer:
        version = await _version()
        if version is None:
            places = ", ".join(PLACES)
            return Offer(obstacle=f"Apptainer does not answer at {places}: install it (role container_engine)")
        if _number(version) < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            return Offer(obstacle=f"Apptainer {version} is too old: install {wanted} or newer")
        runner = await super().offer()
        return runner if runner.obstacle else Offer(f"Apptainer {version}, by this host's job runner")


async def _version() -> str | None:
    found = program()
    if found is None:
        return None
    asked = await asyncio.create_subprocess_exec(found, "version", stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            output, _ = await asked.communicate()
    except TimeoutError:
        asked.kill()
        await asked.wait()
        return None
    return output.decode(errors="replace").strip() or None


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
