"""One host's orchestrator with a real journal and pool, and an executor whose jobs run until they are told to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

from fedproc.contract.ids import new_id
from fedproc.contract.states import JobState
from fedproc.contract.times import now
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import ToolRef
from fedproc.contract.wire.messages import Capacity, Deadlines, GpuInfo, JobOrder, User
from fedproc.site.centre.api import OnWait
from fedproc.site.centre.signals import Signals
from fedproc.site.executors.base import Observation, Phase, Spec
from fedproc.site.jobs.holds import Holds
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.resources.pool import Pool
from fedproc.site.jobs.services import Services
from fedproc.site.journal import Journal
from fedproc.site.policy.policy_file import Policy
from fedproc.site.settings import RetentionSettings
from fedproc.site.tlog.log import HostLog
from fedproc.site.tools.cache import InstalledTool, Runtime

SECONDS = 60
BEGUN = "2030-01-01T00:00:00+00:00"
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
        self.exit_code = 143
        self.queued = False
        """whether jobs wait in a queue, as a cluster's do"""

    async def submit(self, spec: Spec) -> dict[str, Any]:
        if spec.job not in self.running:
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
        if gone.is_set():
            return Observation(Phase.exited, exit_code=self.exit_code)
        return Observation(Phase.running, started=None if self.queued else BEGUN)

    async def logs(self, handle: dict[str, Any], stream: str = "stdout", *, offset: int = 0) -> AsyncIterator[bytes]:
        for part in ():
            yield part

    async def cancel(self, handle: dict[str, Any]) -> None:
        self.cancelled.append(handle["job"])
        self.running[handle["job"]].set()

    async def discard(self, handle: dict[str, Any]) -> None:
        self.running.pop(handle["job"], None)

    async def records(self) -> dict[str, tuple[float, int]]:
        return dict.fromkeys(self.running, (0.0, 0))


def gpu(number: int) -> GpuInfo:
    return GpuInfo(uuid=f"GPU-{number}", name="x", vram=16 * GB, compute_capability=8.0)


class Host:
    """One host's orchestrator, with all that it needs; its jobs want one GPU each, unless ``gpus`` is empty."""

    def __init__(self, folder: Path, journal: Journal, gpus: tuple[GpuInfo, ...]) -> None:
        settings: Any = SimpleNamespace(
            host="UB", state=folder, journal_folder=folder, keep_job_folders=False, prepare_days=7.0, results=None,
            datasets={},
        )  # fmt: skip
        settings.capacity, settings.retention = SimpleNamespace(disk_mb=None), RetentionSettings()
        clock = SimpleNamespace(compared=True, trusted=True, skew=0.0, now=now)
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
            tlog=HostLog(folder / "tlog", "centre.example/hosts/UB"),
            policy=Policy.model_validate({"metrics": False, "logs": False, "tools": [{"id": "km", "digest": "*"}]}),
        )
        self.services.tlog.on_condition = self.services.holds.tlog_condition
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
        self._there = asyncio.Event()
        self._there.set()
        self._wanted = {"memory_mb": 100, "disk_mb": 100} | ({"gpu": {"vram_gb": 1}} if with_gpu else {})
        self.want()

    def want(
        self, *, prepare: tuple[tuple[str, ...], ...] = (), of_task: Mapping[str, Any] | None = None, **resources: Any
    ) -> None:
        """Have the tool ask for this, too, and have these steps before its command; ``of_task`` is more of its task."""
        wanted = self._wanted | resources
        values = {"name": "local", "placement": "client", "runtime": {"requirements": "r.lock"}, "command": ["true"]}
        task = Task.model_validate(values | {"prepare": prepare, "resources": wanted, **(of_task or {})})
        described = SimpleNamespace(credit=())
        tool = SimpleNamespace(id="km", task=lambda name: task, tasks=(task,), biotools=described, parameters={})
        self._installed = InstalledTool(cast(Any, SimpleNamespace(tool=tool)), self._folder, "sha256:1")

    def hold(self) -> None:
        """Let no job come further than to its tool."""
        self._there.clear()

    async def get(self, tool: ToolRef, on_wait: Any) -> InstalledTool:
        await self._there.wait()
        return self._installed

    def note_ready(self, *_: Any) -> bool:
        return False


class _Runtimes:
    unfit: ClassVar[dict[str, str]] = {}
    names = ("sandbox",)

    async def executor_for(self, task: Task, on_wait: OnWait, stays_at: str | None = None) -> str:
        return stays_at or ""

    async def ready(self, installed: InstalledTool, task: Task, executor: str | None = None) -> Runtime:
        return Runtime("/environment", "python", "a venv")


class _Data:
    async def offers(self) -> tuple[()]:
        return ()

    def conditions(self) -> tuple[()]:
        return ()

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
