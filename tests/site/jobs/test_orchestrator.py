"""The stop switch and a restart: what is started, what is ended, and who holds which GPU, whatever comes when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fedproc.common.errors import SystemFaultError
from fedproc.contract.ids import new_id
from fedproc.contract.states import JobState
from fedproc.contract.times import now
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import ToolRef
from fedproc.contract.wire.messages import Capacity, Deadlines, GpuInfo, JobOrder, User
from fedproc.site.centre.signals import Signals
from fedproc.site.executors.base import Observation, Phase, Spec
from fedproc.site.jobs.holds import Holds
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.resources import Pool
from fedproc.site.jobs.services import Services
from fedproc.site.journal import Journal
from fedproc.site.policy.rules import Policy
from fedproc.site.tools.cache import InstalledTool, Runtime

SECONDS = 10
GB = 10**9
HOLDING = (JobState.materialising, JobState.prepared, JobState.running)
OPEN = (JobState.accepted, *HOLDING, JobState.collecting, JobState.awaiting_release)
S = JobState


class Executor:
    """Jobs that run until they are told to end, and then take ``slowly`` for it, if that is given."""

    name = "stub"

    def __init__(self) -> None:
        self.started: list[tuple[str, tuple[str, ...]]] = []
        self.cancelled: list[str] = []
        self.slowly: asyncio.Event | None = None
        self.running: dict[str, asyncio.Event] = {}

    async def submit(self, spec: Spec) -> dict[str, Any]:
        self.started.append((spec.job, spec.limits.gpus))
        self.running[spec.job] = asyncio.Event()
        return {"job": spec.job}

    async def poll(self, handle: dict[str, Any], *, until_exit: bool = False) -> Observation:
        gone = self.running.get(handle["job"])
        if gone is None:
            return Observation(Phase.absent)
        if until_exit:
            await gone.wait()
            if self.slowly is not None:
                await self.slowly.wait()
        return Observation(Phase.exited, exit_code=143) if gone.is_set() else Observation(Phase.running)

    async def logs(self, handle: dict[str, Any], stream: str = "stdout", *, offset: int = 0) -> AsyncIterator[bytes]:
        for part in ():
            yield part

    async def cancel(self, handle: dict[str, Any]) -> None:
        self.cancelled.append(handle["job"])
        self.running[handle["job"]].set()

    async def discard(self, handle: dict[str, Any]) -> None:
        self.running.pop(handle["job"], None)


def gpu(number: int) -> GpuInfo:
    return GpuInfo(uuid=f"GPU-{number}", name="x", vram=16 * GB, compute_capability=8.0)


class Host:
    """One host's orchestrator, with all that it needs; its jobs want one GPU each, unless ``gpus`` is empty."""

    def __init__(self, folder: Path, journal: Journal, gpus: tuple[GpuInfo, ...]) -> None:
        settings: Any = SimpleNamespace(host="UB", state=folder, journal_folder=folder, keep_job_folders=False)
        clock = SimpleNamespace(trusted=True, skew=0.0, now=now)
        self.journal, self.executor, signals = journal, Executor(), Signals()
        self.pool = Pool(
            Capacity(cpus=8, cpus_free=8, memory=8 * GB, memory_free=8 * GB, disk=8 * GB, disk_free=8 * GB, gpus=gpus)
        )
        self.tools = _Tools(folder, with_gpu=bool(gpus))
        self.services = Services(
            settings=settings,
            signals=signals,
            identity=cast(Any, SimpleNamespace(clock=clock)),
            journal=journal,
            holds=Holds(settings, journal, signals),
            pool=self.pool,
            tool_cache=cast(Any, self.tools),
            runtimes=cast(Any, _Runtimes()),
            executor=self.executor,
            data=cast(Any, _Data()),
            transfer=cast(Any, None),
            policy=Policy.model_validate({"metrics": False, "logs": False, "tools": [{"id": "km", "digest": "*"}]}),
        )
        self.orchestrator = Orchestrator(self.services)

    async def has(self, record: JobRecord) -> str:
        """The journal of a daemon before this one has it."""
        await self.journal.accept(record.job, record.as_json(), [])
        if record.handle:
            self.executor.running[record.job] = asyncio.Event()
        return record.job

    async def ended(self, job: str) -> JobRecord:
        """The job's record, when no run of it is left."""
        async with asyncio.timeout(SECONDS):
            while job in self.orchestrator.runs:
                await asyncio.sleep(0.01)
        return JobRecord.model_validate(await self.journal.known(job))

    async def runs(self, *jobs: str) -> None:
        """Wait until these have been started here."""
        async with asyncio.timeout(SECONDS):
            while not set(jobs) <= {job for job, _ in self.executor.started}:
                await asyncio.sleep(0.01)

    def holds(self, job: str) -> tuple[str, ...]:
        """The GPUs that the job holds."""
        return self.pool._held[job].gpus


class _Tools:
    def __init__(self, folder: Path, *, with_gpu: bool) -> None:
        self._folder = folder
        self._wanted = {"memory_mb": 100, "disk_mb": 100} | ({"gpu": {"vram_gb": 1}} if with_gpu else {})
        self.want()

    def want(self, **resources: Any) -> None:
        """Have the tool ask for this, too."""
        wanted = self._wanted | resources
        values = {"name": "local", "placement": "client", "runtime": {"requirements": "r.lock"}, "command": ["true"]}
        task = Task.model_validate(values | {"resources": wanted})
        tool = SimpleNamespace(id="km", task=lambda name: task)
        self._installed = InstalledTool(cast(Any, SimpleNamespace(tool=tool)), self._folder, "sha256:1")

    async def get(self, tool: ToolRef, on_wait: Any) -> InstalledTool:
        return self._installed

    def note_ready(self, *_: Any) -> bool:
        return False


class _Runtimes:
    async def ready(self, installed: InstalledTool, task: Task) -> Runtime:
        return Runtime("/environment", "python", "a venv")


class _Data:
    async def discard(self, job: str) -> None:
        """There is none."""


def order() -> JobOrder:
    soon = now() + timedelta(hours=1)
    return JobOrder(
        job=new_id("j"),
        experiment=new_id("e"),
        task="local",
        tool=ToolRef(id="km", version="1.0.0", digest="sha256:" + "a" * 64),
        user=User(sub="alice"),
        deadlines=Deadlines(start_by=soon, end_by=soon, release_by=soon),
    )


def record(state: JobState, gpus: tuple[str, ...] = (), *, age: float = 0.0) -> JobRecord:
    """A job as the journal of an earlier daemon has it, which came there so many seconds ago."""
    found = JobRecord(order=order(), state=state, times=dict.fromkeys(OPEN, now() - timedelta(seconds=age)))
    if state is not S.accepted:
        found.share = {"cpus": 1.0, "memory": 100_000_000, "disk": 100_000_000, "gpus": list(gpus)}
    if state is S.running:
        found.handle = {"job": found.job}
    return found


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite")
    await journal.open()
    yield journal
    await journal.close()


@pytest.fixture
async def host(tmp_path: Path, journal: Journal) -> AsyncIterator[Host]:
    host = Host(tmp_path, journal, (gpu(1), gpu(2)))
    yield host
    await host.orchestrator.close()


def stopped(found: JobRecord) -> bool:
    return (found.state, found.code) == (S.cancelled, "site.stopped")


# -- the stop switch -----------------------------------------------------------------------------


async def test_a_job_that_is_being_journalled_when_its_site_stops_is_ended(host: Host, monkeypatch: Any) -> None:
    accept, journalled, go_on = host.journal.accept, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        kept = await accept(*arguments)
        journalled.set()
        await go_on.wait()
        return kept

    monkeypatch.setattr(host.journal, "accept", slow)
    ordered = order()
    accepting = asyncio.create_task(host.orchestrator.accept(ordered))
    await journalled.wait()
    host.orchestrator.stop()
    go_on.set()
    await accepting
    assert stopped(await host.ended(ordered.job))
    assert host.executor.started == []


async def test_a_job_that_was_accepted_in_that_very_moment_is_ended(host: Host) -> None:
    """Its run has not had a step yet when the switch is turned."""
    ordered = order()
    await host.orchestrator.accept(ordered)
    host.orchestrator.stop()
    assert stopped(await host.ended(ordered.job))
    assert host.executor.started == []


async def test_a_job_that_comes_while_the_site_has_stopped_is_ended(host: Host) -> None:
    host.orchestrator.stop()
    ordered = order()
    await host.orchestrator.accept(ordered)
    assert stopped(await host.ended(ordered.job))
    host.services.holds.start()
    later = order()
    await host.orchestrator.accept(later)
    await host.runs(later.job)
    assert [job for job, _ in host.executor.started] == [later.job]


@pytest.mark.parametrize("state", OPEN)
async def test_a_restart_of_a_stopped_site_takes_jobs_up_to_end_them(host: Host, state: JobState) -> None:
    host.services.holds.stop()
    job = await host.has(record(state, ("GPU-1",)))
    await host.orchestrator.resume()
    assert stopped(await host.ended(job))
    assert host.executor.started == []
    assert host.executor.cancelled == ([job] if state is S.running else [])
    assert host.executor.running == {}
    assert host.pool._held == {}
    assert not host.services.signals.accept_jobs.on


async def test_a_stop_that_the_disk_does_not_keep_ends_all_jobs_and_says_so(host: Host, tmp_path: Path) -> None:
    ordered = order()
    await host.orchestrator.accept(ordered)
    await host.runs(ordered.job)
    host.services.holds._stop_file = tmp_path / "full" / "stopped"
    with pytest.raises(SystemFaultError, match="a restart"):
        host.orchestrator.stop()
    assert stopped(await host.ended(ordered.job))
    later = order()
    await host.orchestrator.accept(later)
    assert stopped(await host.ended(later.job))
    assert not host.services.signals.accept_jobs.on


async def test_a_stop_while_a_job_is_being_ended_takes_nothing_from_its_end(host: Host) -> None:
    """It had run too long, and its processes take their time to end."""
    ordered, host.executor.slowly = order(), asyncio.Event()
    host.tools.want(run_seconds=1)
    await host.orchestrator.accept(ordered)
    async with asyncio.timeout(SECONDS):
        while not host.executor.cancelled:
            await asyncio.sleep(0.01)
    host.orchestrator.stop()
    await asyncio.sleep(0.05)
    host.executor.slowly.set()
    found = await host.ended(ordered.job)
    assert (found.state, found.code) == (S.failed, "tool_fault.time_limit")
    assert host.pool._held == {}


# -- GPUs after a restart ------------------------------------------------------------------------


async def test_who_ran_before_a_restart_keeps_his_gpus_before_anybody_waits(tmp_path: Path, journal: Journal) -> None:
    host = Host(tmp_path, journal, (gpu(1),))
    waiting = await host.has(record(S.accepted))  # it came first, and so does its run
    running = await host.has(record(S.running, ("GPU-1",)))
    await host.orchestrator.resume()
    await asyncio.sleep(0.2)
    assert host.executor.started == []
    assert host.holds(running) == ("GPU-1",)
    assert host.orchestrator.runs[waiting].record.waiting_for
    await host.executor.cancel({"job": running})
    await host.runs(waiting)
    await host.orchestrator.close()


@pytest.mark.parametrize("state", [S.materialising, S.prepared])
async def test_what_a_job_was_granted_before_it_started_stays_its_own(host: Host, state: JobState) -> None:
    others = [await host.has(record(S.accepted)) for _ in range(2)]
    granted = await host.has(record(state, ("GPU-2",)))
    await host.orchestrator.resume()
    await host.runs(granted, others[0])
    assert sorted(host.executor.started) == sorted([(granted, ("GPU-2",)), (others[0], ("GPU-1",))])


async def test_a_running_job_goes_on_though_its_gpu_is_not_in_the_first_sample(host: Host) -> None:
    silent = await host.has(record(S.running, ("GPU-7",)))
    kept = await host.has(record(S.running, ("GPU-1",)))
    await host.orchestrator.resume()
    await asyncio.sleep(0.2)
    assert host.executor.cancelled == []
    assert host.holds(silent) == ("GPU-7",)
    assert set(host.pool._held) == {kept, silent} == set(host.orchestrator.runs)
    await host.orchestrator.close()


async def test_of_two_jobs_that_claim_a_gpu_the_first_keeps_it(host: Host) -> None:
    second = await host.has(record(S.running, ("GPU-1",), age=5))
    first = await host.has(record(S.running, ("GPU-1",), age=60))
    await host.orchestrator.resume()
    found = await host.ended(second)
    assert (found.state, found.code) == (S.error, "system_fault.share")
    assert "another job's" in str(found.reason)
    assert host.holds(first) == ("GPU-1",)
    assert set(host.orchestrator.runs) == {first}


async def test_a_job_that_had_not_started_waits_for_another_gpu(host: Host) -> None:
    running = await host.has(record(S.running, ("GPU-1",)))
    prepared = await host.has(record(S.prepared, ("GPU-1",), age=60))
    await host.orchestrator.resume()
    await host.runs(prepared)
    assert host.executor.started == [(prepared, ("GPU-2",))]
    assert host.holds(running) == ("GPU-1",)


@pytest.mark.parametrize("share", [None, {}, {"cpus": 1.0, "feet": 3}])
async def test_a_share_that_cannot_be_read_ends_its_job_alone(host: Host, share: dict[str, Any] | None) -> None:
    broken = record(S.running)
    broken.share = share
    job, kept = await host.has(broken), await host.has(record(S.running, ("GPU-1",)))
    await host.orchestrator.resume()
    found = await host.ended(job)
    assert (found.state, found.code) == (S.error, "system_fault.share")
    assert set(host.orchestrator.runs) == {kept}


@pytest.mark.parametrize("state", [S.collecting, S.awaiting_release])
async def test_what_has_run_holds_disk_alone(host: Host, state: JobState) -> None:
    await host.has(record(state, ("GPU-1",)))
    await host.orchestrator.resume()
    free = host.pool.capacity()
    assert (free.cpus_free, free.memory_free, free.disk_free) == (8, 8 * GB, 8 * GB - 100_000_000)
    assert all(one.free for one in free.gpus)


async def test_nothing_starts_on_a_gpu_before_the_journal_says_which(host: Host, monkeypatch: Any) -> None:
    save, works = host.journal.save, asyncio.Event()

    async def slow(*arguments: Any) -> None:
        await works.wait()
        await save(*arguments)

    monkeypatch.setattr(host.journal, "save", slow)
    ordered = order()
    await host.orchestrator.accept(ordered)
    await asyncio.sleep(0.3)
    assert host.executor.started == []
    works.set()
    await host.runs(ordered.job)
    assert JobRecord.model_validate(await host.journal.known(ordered.job)).share is not None
