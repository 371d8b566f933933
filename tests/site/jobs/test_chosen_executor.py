"""A job at a host of several executors is at one of them, whenever its daemon was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.orchestrator import SECONDS, Host, S, order, record

from fedproc.contract.wire.messages import Cancel, Start
from fedproc.site.executors.base import Spec
from fedproc.site.journal import Journal
from fedproc.site.tools.cache import Runtime, Runtimes
from fedproc.site.tools.choosing import TaskRuntimes


@pytest.fixture
async def host(tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    """It has two executors that can run everything, of which it prefers ``sandbox``."""
    host = Host(tmp_path, journal, ())

    async def ready(*_: Any) -> Runtime:
        return Runtime("/environment", "python", "a venv")

    kind = cast(Runtimes, SimpleNamespace(kind="requirements", lacks=lambda task: "", ready=ready))
    runtimes = TaskRuntimes({"sandbox": (kind,), "slurm": (kind,)})
    for name in ("ready", "executor_for", "names"):
        monkeypatch.setattr(host.services.runtimes, name, getattr(runtimes, name), raising=False)
    yield host
    await host.orchestrator.close()


def submitted(host: Host) -> asyncio.Future[tuple[Spec, dict[str, Any]]]:
    """What the executor is given, and what the journal has at that moment."""
    found: asyncio.Future[tuple[Spec, dict[str, Any]]] = asyncio.get_running_loop().create_future()
    submit = host.executor.submit

    async def observed(spec: Spec) -> dict[str, Any]:
        found.set_result((spec, dict(cast(Any, await host.journal.known(spec.job)))))
        return await submit(spec)

    host.executor.submit = observed  # type: ignore[method-assign]
    return found


async def test_job_whose_daemon_was_lost_while_it_was_submitted_is_submitted_there_again(host: Host) -> None:
    prepared, found = record(S.prepared), submitted(host)
    prepared.executor = "slurm"
    await host.has(prepared)
    await host.orchestrator.resume()
    spec, _ = await asyncio.wait_for(found, SECONDS)
    assert spec.executor == "slurm"


async def test_journal_knows_the_executor_before_the_job_is_there(host: Host) -> None:
    ordered, found = order(), submitted(host)
    await host.orchestrator.accept(ordered)
    spec, journalled = await asyncio.wait_for(found, SECONDS)
    assert (spec.executor, journalled["executor"], journalled["state"]) == ("sandbox", "sandbox", "prepared")


async def test_job_that_may_run_at_an_executor_of_before_ends_and_says_so(host: Host) -> None:
    prepared = record(S.prepared)
    prepared.executor = "docker"
    await host.has(prepared)
    await host.orchestrator.resume()
    ended = await host.ended(prepared.job)
    assert (ended.state, ended.code) == (S.error, "system_fault.executor_gone")
    assert "executor 'docker', which this host's settings do not name any more" in str(ended.reason)
    assert host.executor.started == [], "it may run there already"


async def test_running_job_of_an_executor_of_before_ends_and_says_so(host: Host) -> None:
    running = record(S.running)
    running.executor = "docker"
    await host.has(running)
    await host.orchestrator.resume()
    assert (await host.ended(running.job)).code == "system_fault.executor_gone"


async def test_job_that_waits_for_its_gang_goes_to_another_executor(host: Host) -> None:
    """Nothing of it was begun where the settings name nothing any more."""
    waiting, found = record(S.prepared), submitted(host)
    waiting.order = waiting.order.model_copy(update={"gang": True})
    waiting.executor = "docker"
    await host.has(waiting)
    await host.orchestrator.resume()
    await host.orchestrator.runs[waiting.job].start(Start(job=waiting.job))
    spec, _ = await asyncio.wait_for(found, SECONDS)
    assert spec.executor == "sandbox"


async def test_job_ends_while_another_executor_of_its_host_is_away(host: Host) -> None:
    """What a daemon before this one may have begun, and not noted, is looked for where the job was to run."""
    waiting, asked = record(S.prepared), list[dict[str, Any]]()
    waiting.order = waiting.order.model_copy(update={"gang": True})
    waiting.executor = "slurm"
    await host.has(waiting)
    discard = host.executor.discard

    async def observed(handle: dict[str, Any]) -> None:
        asked.append(handle)
        await discard(handle)

    host.executor.discard = observed  # type: ignore[method-assign]
    await host.orchestrator.resume()
    await host.orchestrator.cancel(Cancel(job=waiting.job, code="cancelled", reason="enough"))
    await host.ended(waiting.job)
    assert {handle["job"] for handle in asked} == {waiting.job, f"{waiting.job}-0"}
    assert {handle.get("executor") for handle in asked} == {"slurm"}
