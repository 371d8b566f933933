"""A cluster's job is ended and found again, whatever the shared disk takes of what is noted about it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, cast

import pytest

from fedproc.site.executors.base import ExecutorError, Handle, Limits, Phase, Spec
from fedproc.site.executors.confinement.record import Record, write_record
from fedproc.site.executors.slurm import executor as executing
from fedproc.site.executors.slurm.executor import SlurmExecutor
from fedproc.site.settings import SlurmSettings

JOB, NUMBER = "j-1", "7"


class Cluster:
    """Slurm's commands, of a cluster that has taken at most one job."""

    def __init__(self) -> None:
        self.name = ""
        self.signals: list[str] = []

    async def submit(self, options: list[str], script: str) -> str:
        self.name = next(each for each in options if each.startswith("--job-name=")).partition("=")[2]
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
    with pytest.raises(ExecutorError, match="the cluster has the job"):
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
