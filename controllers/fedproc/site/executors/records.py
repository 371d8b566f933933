"""What executors keep of a job on the host's disk: how it ended, and what it printed."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fedproc.site.executors.base import Observation, Phase, Usage

MOST_RECORDS = 5000
_CHUNK = 1 << 16


def observation_of(record: dict[str, Any]) -> Observation:
    """What a record (:class:`fedproc.site.executors.confinement.record.Record`) says."""
    if record["phase"] == Phase.absent:
        return Observation(Phase.absent)
    return Observation(
        phase=Phase(record["phase"]),
        exit_code=record["exit_code"],
        started=record["started"],
        ended=record["ended"],
        seconds=record["seconds"],
        usage=Usage(record["cpu_seconds"], record["memory_peak"]),
        limit=record["limit"],
        cancelled=record["cancelled"],
        detail=record["detail"],
    )


async def kept_output(folder: Path, stream: str, offset: int) -> AsyncIterator[bytes]:
    """What is kept of ``stdout`` or ``stderr`` in a job's folder, from ``offset`` on."""
    path = folder / ("stderr" if stream == "stderr" else "stdout")
    if not grown(path, offset):
        return
    with contextlib.suppress(FileNotFoundError), await asyncio.to_thread(path.open, "rb") as source:
        source.seek(offset)
        while chunk := await asyncio.to_thread(source.read, _CHUNK):
            yield chunk


def records_in(folder: Path) -> dict[str, tuple[float, int]]:
    """By job, of the folders that executors keep: when each changed last, and its bytes. Blocks.

    Of more than :data:`MOST_RECORDS` these are the ones that changed first: one answer of the runner holds no more,
    and the others follow when those are gone.
    """
    found: dict[str, tuple[float, int]] = {}
    for place in _first_changed(folder) if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # it goes just now
            files = [entry.stat() for entry in os.scandir(place)]
            changed = max((entry.st_mtime for entry in files), default=place.stat().st_mtime)
            found[place.name] = changed, sum(entry.st_blocks * 512 for entry in files)
    return found


def _first_changed(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in heapq.nsmallest(MOST_RECORDS, entries, key=_changed)]


def _changed(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except OSError:  # it goes just now
        return math.inf


def grown(path: Path, offset: int) -> bool:
    """Whether something is there beyond ``offset``: asked often, and quicker than a thread is."""
    try:
        return os.lstat(path).st_size > offset
    except OSError:
        return False
