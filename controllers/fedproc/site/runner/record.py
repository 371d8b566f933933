"""How a job stands and ended, kept where the tool cannot reach it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass
class Record:
    """One job; the fields are those of :class:`fedproc.site.executors.base.Observation`."""

    job: str
    phase: str = "running"
    started: str = ""
    ended: str | None = None
    seconds: float | None = None
    exit_code: int | None = None
    cpu_seconds: float | None = None
    memory_peak: int | None = None
    limit: str | None = None
    cancelled: bool = False
    detail: str = ""
    dropped: int = 0


def write_record(folder: Path, record: Record) -> None:
    """Put the record in its place in one step.

    It outlives the runner, which is what it is for. It is not synced to the disk: where the power fails, the
    job's processes are gone as well, and a job without a record ends as ``error``.
    """
    partial = folder / "record.part"
    partial.write_text(json.dumps(asdict(record)))
    partial.rename(folder / "record.json")


def read_record(folder: Path) -> Record | None:
    """The record of a job, or None if there is none that can be read."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        return Record(**json.loads((folder / "record.json").read_bytes()))
    return None


def forget(folder: Path) -> None:
    """Remove a job's folder; nothing happens if it is gone already."""
    if os.path.lexists(folder):
        shutil.rmtree(folder)
