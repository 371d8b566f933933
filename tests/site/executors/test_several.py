"""Several executors at one host: each job at its own, found there again, and forgotten by all where nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.site.status.test_host_check import settings_in

from fedproc.site.executors import several as module
from fedproc.site.executors.base import ExecutorError, Handle, Limits, Observation, Offer, Phase, Spec
from fedproc.site.executors.making import make_executor
from fedproc.site.executors.several import SeveralExecutors, offers_of
from fedproc.site.settings import load


class One:
    def __init__(self, name: str, obstacle: str = "") -> None:
        self.name = name
        self.jobs: set[str] = set()
        self.cancelled: list[str] = []
        self.away = False
        self._obstacle = obstacle

    async def submit(self, spec: Spec) -> Handle:
        self.jobs.add(spec.job)
        return {"job": spec.job, "folder": f"/{self.name}"}

    async def poll(self, handle: Handle, *, until_exit: bool = False) -> Observation:
        return Observation(Phase.running if handle["job"] in self.jobs else Phase.absent, detail=self.name)

    async def logs(self, handle: Handle, stream: str = "stdout", *, offset: int = 0) -> AsyncIterator[bytes]:
        yield f"{self.name} {stream} {offset}".encode()

    async def cancel(self, handle: Handle) -> None:
        self.cancelled.append(handle["job"])

    async def discard(self, handle: Handle) -> None:
        if self.away:
            raise ExecutorError(f"{self.name} is away")
        self.jobs.discard(handle["job"])

    async def offer(self) -> Offer:
        return Offer(self.name, self._obstacle)

    async def records(self) -> dict[str, tuple[float, int]]:
        return dict.fromkeys(self.jobs, (1.0, 2))


def spec(job: str, executor: str) -> Spec:
    limits = Limits(cpus=1, memory=1, disk=1)
    return Spec(job, ("x",), {}, "", Path("/w"), limits, executor=executor)


@pytest.fixture
def both() -> tuple[SeveralExecutors, One, One]:
    sandbox, slurm = One("sandbox"), One("slurm")
    return SeveralExecutors({"sandbox": sandbox, "slurm": slurm}), sandbox, slurm


async def test_job_is_of_the_executor_that_its_spec_names(both: tuple[SeveralExecutors, One, One]) -> None:
    several, sandbox, slurm = both
    handle = await several.submit(spec("j-1", "slurm"))
    assert (sandbox.jobs, slurm.jobs) == (set(), {"j-1"})
    assert (await several.poll(handle)).detail == "slurm"
    assert [part async for part in several.logs(handle, "stderr", offset=3)] == [b"slurm stderr 3"]
    await several.cancel(handle)
    assert (sandbox.cancelled, slurm.cancelled) == ([], ["j-1"])
    assert await several.records() == {"j-1": (1.0, 2)}
    await several.discard(handle)
    assert slurm.jobs == set()


async def test_handle_of_a_host_that_had_one_executor_before_is_found(both: tuple[SeveralExecutors, One, One]) -> None:
    several, _, slurm = both
    old = await slurm.submit(spec("j-1", ""))
    assert (await several.poll(old)).detail == "slurm"
    await several.cancel(old)
    assert slurm.cancelled == ["j-1"]
    assert (await several.poll({"job": "j-2"})).phase is Phase.absent


async def test_what_is_known_by_name_alone_is_forgotten_by_all(both: tuple[SeveralExecutors, One, One]) -> None:
    several, sandbox, slurm = both
    for one in (sandbox, slurm):
        await one.submit(spec("j-1", ""))
    await several.discard({"job": "j-1"})
    assert (sandbox.jobs, slurm.jobs) == (set(), set())


async def test_executor_that_settings_name_no_more_is_said(both: tuple[SeveralExecutors, One, One]) -> None:
    with pytest.raises(ExecutorError, match="'docker', which this host's settings do not name any more"):
        await both[0].poll({"job": "j-1", "executor": "docker"})


async def test_offer_is_one_for_each_and_an_obstacle_where_all_have_one() -> None:
    away = {"sandbox": One("sandbox", "no runner"), "slurm": One("slurm", "no controller")}
    several = SeveralExecutors(away)
    assert {name: offer.obstacle for name, offer in (await offers_of(several)).items()} == {
        "sandbox": "no runner",
        "slurm": "no controller",
    }
    assert (await several.offer()).obstacle == "sandbox: no runner; slurm: no controller"
    assert (await SeveralExecutors(away | {"podman": One("podman")}).offer()).detail == "podman"
    assert (await offers_of(One("podman"))).keys() == {"podman"}


async def test_one_executor_knows_its_jobs_from_those_of_the_one_before(tmp_path: Path) -> None:
    """A job of it would have counted as lost, while it went on there."""
    settings = load(settings_in(tmp_path, 'executor = "slurm"'))
    with pytest.raises(ExecutorError, match="'sandbox', which this host's settings do not name any more"):
        await make_executor(settings).poll({"job": "j-1", "executor": "sandbox"})


async def test_executor_that_is_away_keeps_no_job_of_another(both: tuple[SeveralExecutors, One, One]) -> None:
    several, sandbox, slurm = both
    sandbox.away = True
    await slurm.submit(spec("j-1", ""))
    with pytest.raises(ExecutorError, match="sandbox is away"):
        await several.discard({"job": "j-1"})
    assert slurm.jobs == set()


async def test_executor_that_hangs_keeps_no_other_from_its_answer(
    both: tuple[SeveralExecutors, One, One], monkeypatch: pytest.MonkeyPatch
) -> None:
    several, sandbox, _ = both

    async def hangs() -> Offer:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(module, "_OFFER_SECONDS", 0.01)
    monkeypatch.setattr(sandbox, "offer", hangs)
    offers = await offers_of(several)
    assert "has not answered" in offers["sandbox"].obstacle
    assert offers["slurm"] == Offer("slurm")
