"""How a job stands and ended, kept where the tool cannot reach it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff
from fedproc.common.tasks import watched

log = get_logger(__name__)
_NAME = "record.jsonl"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


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
    job's processes are gone as well, and a job without a record ends as ``error``. Raises OSError; then the line
    before it still holds.
    """
    with (folder / _NAME).open("ab", buffering=0) as target:
        size = target.tell()
        line = json.dumps(vars(record)).encode() + b"\n"
        try:
            while line:  # a disk that is nearly full takes a part, and says so by the number alone
                line = line[target.write(line) :]
        except OSError:
            target.truncate(size)
            raise


class RecordFile:
    """A job's record on disk. What the disk does not take now, as a full one, it is given again until it does.

    Meanwhile the record in memory says how the job stands: to end a job, no disk is needed.
    """

    def __init__(self, folder: Path, record: Record) -> None:
        self.record = record
        self._folder = folder
        self._again: asyncio.Task[None] | None = None

    def write(self) -> None:
        """Write it now. Raises OSError."""
        write_record(self._folder, self.record)

    def note(self) -> None:
        """Write it, now or as soon as that can be done."""
        if self._again is None and not self._tried():
            self._again = watched(asyncio.create_task(self._try_again()), "record.not_written", job=self.record.job)

    async def written(self) -> None:
        """Wait until what was noted is on the disk."""
        if self._again is not None:
            await asyncio.shield(self._again)

    def close(self) -> None:
        """Try no more."""
        if self._again is not None:
            self._again.cancel()

    async def _try_again(self) -> None:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        await asyncio.sleep(backoff.pause())
        while not self._tried():
            await asyncio.sleep(backoff.pause())
        self._again = None

    def _tried(self) -> bool:
        try:
            self.write()
        except FileNotFoundError:
            return True  # the job's folder was removed: nobody will read it
        except OSError as error:
            log.warning("record.waits", job=self.record.job, reason=str(error))
            return False
        return True


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
