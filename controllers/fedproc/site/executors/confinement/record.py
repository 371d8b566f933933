"""How a job stands and ended, kept where the tool cannot reach it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_NAME = "record.jsonl"


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
    """Say how it stands now: a line more in one file, because a new file costs more than all else here.

    It outlives the runner, which is what it is for. It is not synced to the disk: where the power fails, the
    job's processes are gone as well, and a job without a record ends as ``error``.
    """
    with (folder / _NAME).open("ab", buffering=0) as target:
        target.write(json.dumps(vars(record)).encode() + b"\n")


def read_record(folder: Path) -> Record | None:
    """What the record of a job said last, or None if there is none that can be read."""
    with contextlib.suppress(FileNotFoundError):
        for line in reversed((folder / _NAME).read_bytes().splitlines()):
            with contextlib.suppress(ValueError, TypeError):  # a line that was cut off: the one before it holds
                return Record(**json.loads(line))
    return None


def forget(folder: Path) -> None:
    """Remove a job's folder; nothing happens if it is gone already."""
    if os.path.lexists(folder):
        shutil.rmtree(folder)
