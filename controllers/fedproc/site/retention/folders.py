"""What lies on a host's disk of jobs that are over, and of packages that were fetched."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fedproc.common.errors import FedprocError
from fedproc.common.log import get_logger
from fedproc.common.tasks import in_own_thread
from fedproc.contract.ids import JOB_PATTERN
from fedproc.site.executors.base import Executor
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.retention.kept import Item, Kept, OneByOne, due_before, figures

log = get_logger(__name__)

_JOB = re.compile(JOB_PATTERN)
_STEP = re.compile(JOB_PATTERN.rstrip("$") + r"(-\d+)?$")
Endings = Callable[[Sequence[str]], Awaitable[dict[str, float]]]
_FILES = 1000
"""of a cache, removed at once"""


def size_of(folder: Path) -> int:
    """Bytes on the disk of all files below, however deep; what goes meanwhile, or cannot be read, is left out."""
    total, folders = 0, [str(folder)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                with suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


class JobFolders:
    """Folders of jobs that are over: where the settings keep them, or one could not be removed at its job's end.

    They go some days after their jobs' ends, which ``ended`` gives; one of a job that it does not know, after its
    last change.
    """

    name = "job_folders"

    def __init__(self, jobs: Path, days: float, is_open: Callable[[str], bool], ended: Endings) -> None:
        self._jobs = jobs
        self._days = days
        self._is_open = is_open
        self._ended = ended
        self._removing = OneByOne(self.name)

    async def survey(self, now: float) -> Kept:
        items = await self._items(sizes=True)
        return figures(self.name, "folders of jobs that are over", items, self._days, now)

    async def remove(self, now: float) -> int:
        limit = due_before(self._days, now)
        items = await self._items(sizes=False)
        return await self._removing.remove_first((item.name for item in items if item.at < limit), self._discard)

    async def _discard(self, job: str) -> bool:
        if self._is_open(job):
            return False
        await in_own_thread(Workspace(self._jobs, job).remove)
        log.info("job.folder_removed", job=job)
        return True

    async def _items(self, *, sizes: bool) -> list[Item]:
        found = await in_own_thread(self._found, sizes)
        ended = await self._ended([item.name for item in found])
        return [replace(item, at=ended.get(item.name, item.at)) for item in found]

    def _found(self, sizes: bool) -> list[Item]:
        found = []
        for path in sorted(self._jobs.glob("j-*")):
            if _JOB.fullmatch(path.name) and not self._is_open(path.name):
                with suppress(OSError):
                    found.append(Item(path.name, path.lstat().st_mtime, size_of(path) if sizes else 0))
        return found


class ExecutorRecords:
    """What the executor keeps of jobs that nobody here knows any more: it should have been told to forget them."""

    name = "executor_records"

    def __init__(self, executor: Executor, days: float, is_open: Callable[[str], bool]) -> None:
        self._executor = executor
        self._days = days
        self._is_open = is_open
        self._removing = OneByOne(self.name)

    async def survey(self, now: float) -> Kept:
        return figures(self.name, "the executor's records", await self._items(), self._days, now)

    async def remove(self, now: float) -> int:
        limit = due_before(self._days, now)
        items = await self._items()
        return await self._removing.remove_first((item.name for item in items if item.at < limit), self._discard)

    async def _discard(self, name: str) -> bool:
        if self._stays(name):
            return False
        await self._executor.discard({"job": name})
        log.warning("executor.record_removed", record=name)
        return True

    async def _items(self) -> list[Item]:
        try:
            found = await self._executor.records()
        except FedprocError as error:  # a runner of the release before knows no such question
            log.debug("executor.records_unknown", reason=error.message)
            return []
        return [Item(name, at, size, self._stays(name)) for name, (at, size) in sorted(found.items())]

    def _stays(self, name: str) -> bool:
        return _STEP.fullmatch(name) is None or self._is_open(name[:28])


class PackageCache:
    """What pip keeps of packages that it fetched, where that lies in the host's own folder."""

    name = "packages"

    def __init__(self, state: Path, days: float) -> None:
        self._folder = _pip_cache(state)
        self._days = days

    async def survey(self, now: float) -> Kept:
        items = await in_own_thread(lambda: list(self._items()))
        return figures(self.name, "files of pip's cache", items, self._days, now)

    async def remove(self, now: float) -> int:
        return await in_own_thread(self._remove, due_before(self._days, now))

    def _remove(self, limit: float) -> int:
        removed = 0
        for item in self._items():
            if item.at < limit and removed < _FILES:
                with suppress(OSError):
                    Path(item.name).unlink()
                    removed += 1
        return removed

    def _items(self) -> Iterator[Item]:
        if self._folder is None:
            return
        for below, _, names in os.walk(self._folder):
            for name in names:
                with suppress(OSError):
                    found = Path(below, name).lstat()
                    used = max(found.st_mtime, found.st_atime)
                    yield Item(str(Path(below, name)), used, found.st_blocks * 512)


def _pip_cache(state: Path) -> Path | None:
    """None if it is elsewhere, and so not this host's alone."""
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(os.environ.get("PIP_CACHE_DIR") or Path(home, "pip"))
    return folder if folder.resolve().is_relative_to(state.resolve()) else None
