"""A cluster's job is ended and found again, whatever the shared disk takes of what is noted about it."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from fedproc.site.executors.base import ExecutorError, Handle, Limits, Phase, Spec
from fedproc.site.executors.confinement.record import Record, write_record
from fedproc.site.executors.slurm import executor as executing
from fedproc.site.executors.slurm.commands import Slurm, SlurmAwayError
from fedproc.site.executors.slurm.executor import SlurmExecutor
from fedproc.site.settings import SlurmSettings

JOB, NUMBER = "j-1", "7"


class Cluster:
    """Slurm's commands, of a cluster that has taken at most one job."""

    def __init__(self) -> None:
        self.name = self.refusal = ""
        self.away = False
        self.signals: list[str] = []

    async def submit(self, options: list[str], script: str) -> str:
        if self.refusal:
            raise ExecutorError(self.refusal)
        self.name = next(each for each in options if each.startswith("--job-name=")).partition("=")[2]
        if self.away:
            raise SlurmAwayError("its answer is lost")
        return NUMBER

    async def find(self, name: str) -> str | None:
        return NUMBER if name == self.name else None

    async def signal(self, number: str, signal: str) -> None:
        self.signals.append(signal)

    async def cancel(self, number: str) -> None:
        self.name = ""

    async def state(self, number: str) -> str | None:
        return "RUNNING" if self.name else None


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "number")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def executor(cluster: Cluster, tmp_path: Path) -> SlurmExecutor:
    made = SlurmExecutor(tmp_path / "jobs", SlurmSettings())
    made._slurm = cast(Any, cluster)
    return made


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    (tmp_path / "work").mkdir()
    return Spec(JOB, ("x",), {}, "", tmp_path / "work", Limits(cpus=1, memory=1 << 30, disk=1 << 30))


async def handed(executor: SlurmExecutor, spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster has it, and the disk has not taken its number."""
    write = executing.write_atomically
    monkeypatch.setattr(
        executing, "write_atomically", lambda path, data: full() if path.name == "number" else write(path, data)
    )
    with pytest.raises(ExecutorError, match="No space left"):
        await executor.submit(spec)
    monkeypatch.setattr(executing, "write_atomically", write)


async def test_job_whose_number_was_not_noted_does_not_run_on(
    executor: SlurmExecutor, cluster: Cluster, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    await handed(executor, spec, monkeypatch)
    assert cluster.name
    await executor.discard({"job": JOB})
    assert not cluster.name
    assert await executor.records() == {}


async def test_job_whose_number_was_not_noted_is_found_by_its_name_and_cancelled(
    executor: SlurmExecutor, cluster: Cluster, spec: Spec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await handed(executor, spec, monkeypatch)
    await executor.cancel({"job": JOB, "folder": str(tmp_path / "jobs" / JOB)})
    assert not cluster.name


async def test_job_that_an_absent_controller_took_is_not_forgotten_on_a_full_disk(
    executor: SlurmExecutor, cluster: Cluster, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.away = True
    with pytest.raises(SlurmAwayError):
        await executor.submit(spec)
    with monkeypatch.context() as patched:
        patched.setattr(executing, "write_atomically", full)
        with pytest.raises(ExecutorError, match="No space left"):
            await executor.submit(spec)
    await executor.discard({"job": JOB})
    assert not cluster.name


async def test_job_that_the_cluster_refuses_leaves_nothing(
    executor: SlurmExecutor, cluster: Cluster, spec: Spec, tmp_path: Path
) -> None:
    cluster.refusal = "sbatch: invalid partition"
    with pytest.raises(ExecutorError, match="invalid partition"):
        await executor.submit(spec)
    assert list((tmp_path / "jobs").iterdir()) == []


@pytest.mark.process
async def test_sbatch_ends_with_the_call_that_nobody_waits_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hand the job over after it was discarded."""
    program, noted = tmp_path / "sbatch", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ >{noted}.new\nmv {noted}.new {noted}\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    call = asyncio.create_task(Slurm().submit([], "x"))
    async with asyncio.timeout(30):
        while not noted.exists():
            await asyncio.sleep(0.01)
    call.cancel()
    await asyncio.wait({call})
    assert not psutil.pid_exists(int(noted.read_text()))


async def test_a_full_disk_keeps_no_job_from_being_ended_and_it_is_cancelled_all_the_same(
    executor: SlurmExecutor, cluster: Cluster, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle: Handle = await executor.submit(spec)
    folder = Path(handle["folder"])
    write_record(folder, Record(JOB, started="2030-01-01T00:00:00+00:00"))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "touch", full)
        await executor.cancel(handle)
    assert cluster.signals == ["SIGTERM"]
    write_record(folder, Record(JOB, phase="exited", exit_code=143, cancelled=True))
    seen = await executor.poll(handle, until_exit=True)
    assert (seen.phase, seen.exit_code, seen.cancelled) == (Phase.exited, 143, True)
    restarted = SlurmExecutor(folder.parent, SlurmSettings())
    assert (await restarted.poll(handle)).cancelled, "the mark was written once there was room"


async def test_end_that_the_disk_does_not_take_is_told(
    executor: SlurmExecutor, cluster: Cluster, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executing, "_FIRST_ASK_SECONDS", 0.01)
    monkeypatch.setattr(executing, "_LONGEST_LOOK", 0.05)
    handle = await executor.submit(spec)
    monkeypatch.setattr(executing, "write_record", full)
    cluster.name = ""
    seen = await executor.poll(handle, until_exit=True)
    assert (seen.phase, seen.exit_code) == (Phase.exited, None)
    assert "while the job ran" in seen.detail
