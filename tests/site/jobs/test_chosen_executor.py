"""A job at a host of several executors is at one of them, whenever its daemon was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.orchestrator import SECONDS, Host, S, order, record

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
    for name in ("ready", "executor_for"):
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
