"""The keeper goes on, whatever fails; and what cannot be removed keeps nothing else."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.site.retention.conftest import Time
from tests.support.orchestrator import Host

from fedproc.contract.ids import new_id
from fedproc.site.executors.base import ExecutorError
from fedproc.site.journal import JournalError
from fedproc.site.retention import folders as module_of_folders
from fedproc.site.retention import keeper as module
from fedproc.site.retention.folders import ExecutorRecords, JobFolders
from fedproc.site.retention.journal import ended_at
from fedproc.site.retention.keeper import Retention
from fedproc.site.retention.kept import OneByOne


async def test_keeper_outlives_a_journal_that_cannot_be_written(
    host: Host, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Semaphore(0)

    async def fails() -> float:
        tried.release()
        raise JournalError("the disk is full; make room")

    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.0)
    host.services.settings.retention = host.services.settings.retention.model_copy(update={"pass_seconds": 0.01})
    monkeypatch.setattr(host.journal, "retention_since", fails)
    host.services.runtimes.kinds = ()
    running = asyncio.create_task(Retention(host.services, host.orchestrator).run())
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            for _ in range(3):
                await tried.acquire()
    assert not running.done()
    running.cancel()
    assert {line["reason"] for line in logs if line["event"] == "retention.not_done"} == {"the disk is full; make room"}


async def test_folder_that_cannot_be_removed_keeps_no_later_one(
    host: Host, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = host.services.settings.state / "jobs"
    names = sorted(new_id("j") for _ in range(3))
    for name in names:
        (jobs / name).mkdir(parents=True)
    real = module_of_folders.Workspace.remove

    def remove(self: Any) -> None:
        if self.root.name == names[0]:
            raise OSError(16, "Device or resource busy", str(self.root))
        real(self)

    monkeypatch.setattr(module_of_folders.Workspace, "remove", remove)
    kind = JobFolders(jobs, 7, lambda _: False, partial(ended_at, host.journal))
    clock.go_on(8)
    with capture_logs() as logs:
        assert [await kind.remove(clock()) for _ in range(3)] == [1, 1, 0]
    assert [path.name for path in jobs.iterdir()] == names[:1]
    [told] = [line for line in logs if line["event"] == "retention.not_removed"]
    assert (told["kind"], told["name"]) == ("job_folders", names[0])
    monkeypatch.setattr(module_of_folders.Workspace, "remove", real)
    assert [await kind.remove(clock()) for _ in range(2)] == [1, 0]


async def test_record_that_cannot_be_removed_keeps_no_later_one(host: Host, clock: Time) -> None:
    names = sorted(new_id("j") for _ in range(3))
    host.executor.running |= dict.fromkeys(names, asyncio.Event())
    real = host.executor.discard

    async def discard(handle: dict[str, Any]) -> None:
        if handle["job"] == names[0]:
            raise ExecutorError("the job runner: Device or resource busy")
        await real(handle)

    host.executor.discard = discard  # type: ignore[method-assign]
    kind = ExecutorRecords(host.executor, 7, lambda _: False)
    assert [await kind.remove(clock()) for _ in range(3)] == [1, 1, 0]
    assert set(host.executor.running) == {names[0]}


async def test_what_stays_for_now_is_no_failure_and_does_not_end_the_pass() -> None:
    here = {"busy", "a", "b"}

    async def discard(name: str) -> bool:
        if name != "busy":
            here.discard(name)
        return name != "busy"

    removing = OneByOne("things")
    with capture_logs() as logs:
        assert [await removing.remove_first(sorted(here, reverse=True), discard) for _ in range(3)] == [1, 1, 0]
    assert here == {"busy"}
    assert logs == []
