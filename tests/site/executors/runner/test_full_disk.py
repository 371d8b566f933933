"""The disk of the runner is full: a job is ended all the same, and the runner starts again."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.support.disks import SmallDisk
from tests.support.executors import Harness, SandboxBackend
from tests.support.needs import needs

from fedproc.site.executors.base import ExecutorError, Handle, Phase, Stop
from fedproc.site.executors.confinement.record import Record, read_record, write_record

pytestmark = [pytest.mark.slow, pytest.mark.needs_root]

SLEEPS = "import time\nprint('up', flush=True)\ntime.sleep(600)"


class Backend(SandboxBackend):
    """A runner whose files lie on ``disk``."""

    def __init__(self, disk: SmallDisk) -> None:
        self.disk = disk
        super().__init__(disk.folder)

    def crash_while_full(self, handle: Handle) -> None:
        """Kill it, and start it on a disk that has no room for anything."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder / "etc")
        self.disk.fill(record_of(handle))
        self._process = self._started()


def record_of(handle: Handle) -> Path:
    return Path(handle["folder"]) / "record.jsonl"


@pytest.fixture
@needs("needs_root")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fedproc-full-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def disk(folder: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(folder / "runner")
    yield made
    made.close()


@pytest.fixture
async def harness(folder: Path, disk: SmallDisk) -> AsyncIterator[Harness]:
    async with AsyncExitStack() as stack:
        backend = Backend(disk)
        stack.callback(backend.close)
        (folder / "jobs").mkdir()
        made = Harness(backend, folder / "jobs", backend.executor())
        stack.push_async_callback(made.close)
        yield made


async def test_job_is_ended_and_its_end_is_written_when_there_is_room(harness: Harness, disk: SmallDisk) -> None:
    handle = await harness.submit(harness.program("full", SLEEPS, stop=Stop(grace=1)))
    await harness.said(handle, b"up")
    disk.fill(record_of(handle))
    async with asyncio.timeout(20):
        await harness.executor.cancel(handle)
        seen = await harness.executor.poll(handle, until_exit=True)
    assert (seen.phase, seen.exit_code, seen.cancelled) == (Phase.exited, 143, True)
    assert (read_record(Path(handle["folder"])) or Record("")).phase == "running"
    disk.empty()
    async with asyncio.timeout(20):
        while (read_record(Path(handle["folder"])) or Record("")).phase == "running":
            await asyncio.sleep(0.05)
    harness.backend.crash()
    assert await harness.executor.poll(handle) == seen


async def test_runner_starts_again_and_takes_jobs_once_there_is_room(harness: Harness, disk: SmallDisk) -> None:
    handle = await harness.submit(harness.program("lost", SLEEPS))
    await harness.said(handle, b"up")
    assert isinstance(harness.backend, Backend)
    harness.backend.crash_while_full(handle)
    seen = await harness.executor.poll(handle)
    assert (seen.phase, seen.exit_code) == (Phase.exited, None)
    assert "the runner was lost" in seen.detail
    with pytest.raises(ExecutorError, match="No space left on device"):
        await harness.submit(harness.program("next", "print('here')"))
    disk.empty()
    await harness.executor.discard(handle)
    assert (await harness.run(harness.program("next", "print('here')"))).out == b"here\n"


def test_line_that_only_half_fits_takes_no_other_with_it(disk: SmallDisk) -> None:
    record = Record("j-1")
    write_record(disk.folder, record)
    disk.fill(disk.folder / "record.jsonl", but=20)
    record.phase = "exited"
    with pytest.raises(OSError, match="No space left on device"):
        write_record(disk.folder, record)
    disk.empty()
    write_record(disk.folder, record)
    assert read_record(disk.folder) == record
