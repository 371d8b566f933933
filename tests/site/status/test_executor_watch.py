"""A host takes jobs only while its executor can run them within the limits that its site wants."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.site.status.test_host_check import settings_in
from typer.testing import CliRunner

from fedproc.cli.site import control
from fedproc.cli.site.app import site
from fedproc.contract.wire.messages import ReadyTool
from fedproc.site.centre.signals import Signals
from fedproc.site.executors import several
from fedproc.site.executors.base import Offer
from fedproc.site.executors.several import SeveralExecutors
from fedproc.site.jobs.holds import Holds
from fedproc.site.jobs.services import Services
from fedproc.site.journal import Journal
from fedproc.site.policy.policy_file import Policy
from fedproc.site.settings import load
from fedproc.site.status import executor_watch
from fedproc.site.status.executor_watch import ExecutorWatch, unfit
from fedproc.site.status.routes import routes_for

LACKS = Offer("Podman 4.3.1 of user 1000", lacks={"cpus": "delegate cpu", "memory": "delegate memory"})


class Executor:
    name = "podman"

    def __init__(self) -> None:
        self.answer: Offer | None = Offer("Podman 5.4.2 of user 1000")
        self.asked = asyncio.Event()

    async def offer(self) -> Offer:
        self.asked.set()
        if self.answer is None:
            await asyncio.Event().wait()
        assert self.answer is not None
        return self.answer


class Site:
    def __init__(self, folder: Path) -> None:
        self.settings = load(settings_in(folder))
        self.signals = Signals()
        self.holds = Holds(self.settings, Journal(folder / "journal.sqlite"), self.signals)
        self.executor = Executor()
        self.runtimes = SimpleNamespace(unfit={})
        self.policy = Policy()
        self.watch = ExecutorWatch(cast(Services, self))


@pytest.mark.parametrize(
    ("offer", "allowed", "says"),
    [
        (Offer("x"), (), ""),
        (LACKS, ("cpus", "memory"), ""),
        (LACKS, ("cpus",), "does not enforce the limits of memory (delegate memory)"),
        (LACKS, (), "limits of cpus, memory (delegate cpu; delegate memory); or the site's policy"),
        (Offer("x", obstacle="it is away"), ("cpus", "memory", "pids", "disk"), "it is away"),
    ],
)
def test_what_is_not_enforced_is_the_sites_to_accept(offer: Offer, allowed: Any, says: str) -> None:
    reason = unfit(offer, Policy(unenforced_limits=allowed))
    assert says in reason
    assert bool(says) == bool(reason)


async def test_a_host_holds_before_a_job_comes_and_takes_jobs_when_its_executor_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_watch, "_AGAIN_SECONDS", 0.0)
    site = Site(tmp_path)
    site.executor.answer = Offer(obstacle="the engine is away")
    await site.watch.begin()
    assert (site.holds.held, site.signals.accept_jobs.on) == ("executor podman: the engine is away", False)
    running = asyncio.create_task(site.watch.run())
    try:
        site.executor.answer = LACKS
        async with asyncio.timeout(5):
            while "unenforced_limits" not in (site.holds.held or ""):
                await asyncio.sleep(0)
            site.policy = Policy(unenforced_limits=("cpus", "memory"))  # as when the site reloads it
            while site.holds.held is not None:
                await asyncio.sleep(0)
        assert site.signals.accept_jobs.on
    finally:
        running.cancel()


async def test_an_executor_that_does_not_answer_keeps_no_daemon_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_watch, "_FIRST_SECONDS", 0.01)
    site = Site(tmp_path)
    site.executor.answer = None
    await site.watch.begin()
    assert site.executor.asked.is_set()
    assert site.holds.held == "executor podman does not answer yet"


async def test_host_takes_jobs_while_one_of_its_executors_does(tmp_path: Path) -> None:
    site = Site(tmp_path)
    away, there = Executor(), Executor()
    away.answer = Offer(obstacle="the controller is away")
    site.executor = cast(Executor, SeveralExecutors({"slurm": cast(Any, away), "sandbox": cast(Any, there)}))
    await site.watch.begin()
    assert site.holds.held is None
    assert site.runtimes.unfit == {"slurm": "the controller is away"}
    there.answer = Offer(obstacle="no runner")
    await site.watch.begin()
    assert site.holds.held == "executor slurm: the controller is away; executor sandbox: no runner"


def test_settings_name_the_podman_of_whoever_runs_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/4711")
    settings = load(settings_in(tmp_path, 'executor = "podman"'))
    assert settings.podman.socket == "unix:///run/user/4711/podman/podman.sock"
    assert settings.executors == ("podman",)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([Offer(obstacle="no controller", away=True), Offer("Slurm 24")], ""),
        ([Offer(obstacle="no controller", away=True)] * 99, "no controller; this was tried for 0.05 s: ask again in a"),
        ([Offer(obstacle="no such program")], "no such program"),
        ([None], "executor slurm does not answer; this was tried for 0.05 s: ask again in a while"),
    ],
)
async def test_executor_that_is_away_is_waited_for_a_short_time_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, answers: list[Offer | None], told: str
) -> None:
    executor = Executor()
    monkeypatch.setattr(several, "_AGAIN_SECONDS", 0.002)

    async def offer() -> Offer:
        executor.answer = answers.pop(0)
        return await Executor.offer(executor)

    monkeypatch.setattr(executor, "offer", offer)
    found = await several.offers_within(SeveralExecutors({"slurm": cast(Any, executor)}), 0.05)
    assert found["slurm"].obstacle.startswith(told), found
    assert bool(found["slurm"].obstacle) == bool(told)


async def test_the_sites_operator_is_told_what_is_missing_and_what_the_policy_accepts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = Executor()
    executor.answer = LACKS
    ready = ReadyTool(id="km", version="1.0", digest="sha256:" + "0" * 64, tasks=("fit",))
    cache = SimpleNamespace(ready=lambda: (ready,))
    services = SimpleNamespace(executor=executor, policy=Policy(unenforced_limits=("cpus",)), tool_cache=cache)
    nothing: Any = None
    routes = routes_for(cast(Services, services), nothing, nothing, nothing, nothing)
    handler = next(handler for verb, pattern, handler in routes if pattern.fullmatch("/executors") and verb == "GET")
    (shown,) = await handler(nothing, {}, nothing)
    assert (shown["name"], shown["takes_jobs"], shown["accepted"]) == ("podman", False, ["cpus"])
    assert "delegate memory" in shown["missing"]
    assert shown["tools_ready"][0]["tasks"] == ["fit"]
    monkeypatch.setattr(control, "ask", lambda *_: [shown])
    said = CliRunner().invoke(site, ["executors", "--socket", "x"])
    assert said.exit_code == 0, said.output
    assert "memory (not accepted by the policy): delegate memory" in " ".join(said.output.split())
