"""The end of a job comes to its end, whatever fails meanwhile, and in whatever order verdicts and restarts come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.orchestrator import SECONDS, Host, S, gpu, order

from fedproc.common.tlog.folder import ENTRIES
from fedproc.contract.states import TERMINAL
from fedproc.contract.wire.messages import Cancel
from fedproc.site.executors.base import ExecutorError
from fedproc.site.jobs import orchestrator as orchestrator_module
from fedproc.site.jobs import stopping, termination
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.overview import jobs_of
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.resources.pool import Pool
from fedproc.site.jobs.run import JobRun
from fedproc.site.jobs.verdict import Verdict
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.journal import Journal, JournalError


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(termination, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(termination, "_LONGEST_PAUSE", 0.02)


@pytest.fixture
def host(tmp_path: Path, journal: Journal) -> Host:
    return Host(tmp_path, journal, (gpu(1), gpu(2)))


class Failing:
    """Has a method fail as often as it is told; then it works again."""

    def __init__(self, owner: Any, name: str, error: Callable[[], Exception] = lambda: OSError(5, "it fails")) -> None:
        self.times = 0
        self._real, self._error = getattr(owner, name), error
        setattr(owner, name, self)

    async def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self.times > 0:
            self.times -= 1
            raise self._error()
        return await self._real(*arguments, **named)


async def running(host: Host) -> str:
    ordered = order()
    await host.orchestrator.accept(ordered)
    await host.runs(ordered.job)
    return ordered.job


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def cancel(job: str) -> Cancel:
    return Cancel(job=job, code="cancelled", reason="by its researcher")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["poll", "cancel"])
async def test_processes_that_cannot_be_stopped_keep_the_share_until_they_are_gone(host: Host, what: str) -> None:
    failing, job = Failing(host.executor, what), await running(host)
    failing.times = 1000
    await host.orchestrator.cancel(cancel(job))
    run = host.orchestrator.runs[job]
    await until(lambda: run.obstacle is not None)
    assert run.obstacle == "processes: [Errno 5] it fails"
    assert host.holds(job)
    assert host.executor.running != {}
    failing.times = 0
    found = await host.ended(job)
    assert (found.state, found.remaining) == (S.cancelled, ())
    assert host.pool._held == {}
    assert host.executor.running == {}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["executor", "data", "folder"])
async def test_a_clean_up_that_fails_is_done_again_and_holds_no_share(
    host: Host, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, job = True, await running(host)
    folder = host.services.workspace(job).root

    def fail_while_broken(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if broken:
                raise OSError(5, "it fails")
            return real(*arguments)

        return call

    owner, name = {
        "executor": (host.executor, "discard"),
        "data": (host.services.data, "discard"),
        "folder": (Workspace, "remove"),
    }[what]
    monkeypatch.setattr(owner, name, fail_while_broken(getattr(owner, name)))
    await host.orchestrator.cancel(cancel(job))
    run = host.orchestrator.runs[job]
    await until(lambda: run.obstacle is not None)
    assert run.obstacle == f"{what}: [Errno 5] it fails"
    assert run.record.state is S.cancelled
    assert host.pool._held == {}
    assert [json.loads(text)["state"] for _, text in await host.journal.open_jobs()] == ["cancelled"]
    assert folder.exists()
    (shown,) = jobs_of(host.orchestrator.runs.values())
    assert shown["ending"][0] == what
    broken = False
    found = await host.ended(job)
    assert found.remaining == ()
    assert not folder.exists()


async def test_the_end_goes_on_after_a_restart_and_keeps_its_verdict(host: Host) -> None:
    failing, job = Failing(host.executor, "cancel"), await running(host)
    failing.times = 1000
    host.tools.want(run_seconds=1)
    await host.orchestrator.cancel(cancel(job))
    run = host.orchestrator.runs[job]
    await until(lambda: run.obstacle is not None)
    await restart(host)
    assert host.holds(job)
    host.orchestrator.stop()
    failing.times = 0
    found = await host.ended(job)
    assert (found.state, found.code) == (S.cancelled, "cancelled")
    assert host.pool._held == {}


@pytest.mark.slow
async def test_a_researcher_does_not_wait_for_a_machine_to_be_mended(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(termination, "_PATIENCE", 0.05)
    failing, job = Failing(host.executor, "poll"), await running(host)
    failing.times = 1000
    await host.orchestrator.cancel(cancel(job))
    run = host.orchestrator.runs[job]
    await until(lambda: run.record.ended)
    assert host.holds(job), "its processes may be there"
    failing.times = 0
    await host.ended(job)
    assert host.pool._held == {}
    assert await told(host) == {job: ["cancelled"]}


@pytest.mark.slow
async def test_processes_that_do_not_go_are_told_of_beside_the_wait_for_them(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hang in a driver: no attempt to end them fails, as none comes to its end."""
    monkeypatch.setattr(termination, "_PATIENCE", 0.2)
    job = await running(host)
    host.executor.slowly = asyncio.Event()
    await host.orchestrator.cancel(cancel(job))
    run = host.orchestrator.runs[job]
    await until(lambda: run.record.ended and run.obstacle is not None)
    assert run.obstacle is not None
    assert run.obstacle.startswith("processes: they have not ended yet though they were told to")
    assert host.holds(job), "they may still use it"
    host.executor.slowly.set()
    await host.ended(job)
    assert host.pool._held == {}
    assert await told(host) == {job: ["cancelled"]}
    with (host.services.tlog.folder / ENTRIES).open() as log:
        assert sum('"job.ended"' in line for line in log) == 1


@pytest.mark.slow
async def test_a_clean_up_that_hangs_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(termination, "_PATIENCE", 0.05)
    job, go_on = await running(host), asyncio.Event()
    monkeypatch.setattr(host.services.data, "discard", lambda _: go_on.wait())
    await host.orchestrator.cancel(cancel(job))
    run = host.orchestrator.runs[job]
    await until(lambda: "data: it goes on for longer than" in str(run.obstacle))
    go_on.set()
    await host.ended(job)


async def test_a_run_that_breaks_is_noticed_and_ended(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict_of_work, broken = JobRun._verdict_of_work, False

    async def breaks_once(run: JobRun) -> Verdict:
        nonlocal broken
        if not broken:
            broken = True
            raise RuntimeError("a fault of ours")
        return await verdict_of_work(run)

    monkeypatch.setattr(JobRun, "_verdict_of_work", breaks_once)
    ordered = order()
    await host.orchestrator.accept(ordered)
    await until(lambda: broken)
    found = await host.ended(ordered.job)
    assert (found.state, found.code) == (S.error, "system_fault.unforeseen")
    assert host.pool._held == {}


# -- what a review found --------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_job_that_has_filled_the_disk_is_stopped_and_goes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_JOURNAL_SECONDS", "_PATIENCE"):
        monkeypatch.setattr(termination, name, 0.05)
    monkeypatch.setattr(stopping, "_JOURNAL_SECONDS", 0.05)
    job = await running(host)
    await host.orchestrator.runs[job]._writer.written()
    full = Failing(host.journal, "save", lambda: JournalError("the disk is full"))
    full.times = 1000
    host.orchestrator.stop()
    run = host.orchestrator.runs[job]
    await until(lambda: host.executor.cancelled == [job])
    await until(lambda: "report: the journal" in str(run.obstacle))
    await until(lambda: not host.services.workspace(job).root.exists())
    full.times = 0
    found = await host.ended(job)
    assert (found.state, found.code, found.remaining) == (S.cancelled, "site.stopped", ())


async def test_a_cancel_that_comes_with_its_job_ends_it(host: Host) -> None:
    ordered = order()
    await asyncio.gather(host.orchestrator.accept(ordered), host.orchestrator.cancel(cancel(ordered.job)))
    found = await host.ended(ordered.job)
    assert found.state is S.cancelled


async def test_what_a_failed_submission_left_is_ended(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = host.executor.submit

    async def half(spec: Any) -> Any:
        await submit(spec)
        raise ExecutorError("the engine went away")

    monkeypatch.setattr(host.executor, "submit", half)
    ordered = order()
    await host.orchestrator.accept(ordered)
    found = await host.ended(ordered.job)
    assert found.state is S.error
    assert host.executor.running == {}


async def test_what_is_started_is_not_forgotten_however_often_it_is_cancelled(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, begun, go_on = host.executor.submit, asyncio.Event(), asyncio.Event()

    async def slow(spec: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await submit(spec)

    monkeypatch.setattr(host.executor, "submit", slow)
    ordered = order()
    await host.orchestrator.accept(ordered)
    await begun.wait()
    await host.orchestrator.cancel(cancel(ordered.job))
    run = host.orchestrator.runs[ordered.job]
    for _ in range(3):
        await asyncio.sleep(0.01)
        assert run._task is not None
        run._task.cancel()
    go_on.set()
    await host.ended(ordered.job)
    assert host.executor.running == {}


@pytest.mark.parametrize("gives_up", [True, False])
async def test_executor_that_never_answers_to_a_submission_holds_no_end(
    host: Host, monkeypatch: pytest.MonkeyPatch, gives_up: bool
) -> None:
    monkeypatch.setattr(stopping, "_SUBMISSION_SECONDS", 0.02)
    submit, begun, answers = host.executor.submit, asyncio.Event(), asyncio.Event()

    async def hangs(spec: Any) -> Any:
        begun.set()
        while not answers.is_set():
            try:
                await answers.wait()
            except asyncio.CancelledError:
                if gives_up:
                    raise
        return await submit(spec)

    monkeypatch.setattr(host.executor, "submit", hangs)
    ordered = order()
    await host.orchestrator.accept(ordered)
    await begun.wait()
    await host.orchestrator.cancel(cancel(ordered.job))
    run = host.orchestrator.runs[ordered.job]
    if not gives_up:  # it may start yet: it keeps its share, and it is said why
        await until(lambda: "its executor has not said yet" in str(run.obstacle))
        assert host.holds(ordered.job)
        answers.set()
    found = await host.ended(ordered.job)
    assert found.state is S.cancelled
    assert (host.executor.running, host.pool._held) == ({}, {})


async def test_executor_that_never_answers_does_not_hold_the_end_of_the_daemon(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator_module, "_SETTLE_SECONDS", 0.02)
    submit, begun = host.executor.submit, asyncio.Event()

    async def hangs(_: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(host.executor, "submit", hangs)
    ordered = order()
    await host.orchestrator.accept(ordered)
    await begun.wait()
    async with asyncio.timeout(5):
        await host.orchestrator.close()
    monkeypatch.setattr(host.executor, "submit", submit)
    await restart(host)
    await host.runs(ordered.job)
    assert [job for job, _ in host.executor.started] == [ordered.job]
    await host.orchestrator.close()


@pytest.mark.slow
async def test_the_daemon_ends_though_a_job_does_not(host: Host) -> None:
    failing, job = Failing(host.executor, "poll"), await running(host)
    failing.times = 1000
    host.orchestrator.stop()
    async with asyncio.timeout(SECONDS):
        await host.orchestrator.close()
    assert [open_job for open_job, _ in await host.journal.open_jobs()] == [job]


async def test_a_run_that_nobody_cancelled_is_noticed_and_ended(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    poll, stray = host.executor.poll, True

    async def cancelled(handle: Any, **named: Any) -> Any:
        nonlocal stray
        if named and stray:
            stray = False
            raise asyncio.CancelledError
        return await poll(handle, **named)

    monkeypatch.setattr(host.executor, "poll", cancelled)
    ordered = order()
    await host.orchestrator.accept(ordered)
    await until(lambda: not stray)
    found = await host.ended(ordered.job)
    assert found.state is S.error
    assert host.pool._held == {}
    assert host.executor.running == {}


@pytest.mark.slow
async def test_a_record_that_cannot_be_written_is_tried_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await running(host)
    broken, snapshot = True, JobRecord.snapshot_event

    def breaks(record: JobRecord, *arguments: Any) -> Any:
        if broken:
            raise ValueError("half of a surrogate pair")
        return snapshot(record, *arguments)

    monkeypatch.setattr(JobRecord, "snapshot_event", breaks)
    stopping = asyncio.create_task(host.orchestrator.cancel(cancel(job)))
    await until(lambda: host.services.holds.held is not None)
    broken = False
    await stopping
    assert (await host.ended(job)).state is S.cancelled
    assert (await told(host))[job]


# -- any order ------------------------------------------------------------------------------------

FAILING = ("poll", "cancel", "discard", "data", "journal")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["accept", "accept and cancel"]), st.just(0)),
        st.tuples(st.sampled_from(["cancel", "exit", "start"]), st.integers(0, 3)),
        st.tuples(st.sampled_from(FAILING), st.integers(1, 3)),
        st.tuples(st.sampled_from(["stop", "go", "restart", "restart at once", "pause"]), st.just(0)),
    ),
    max_size=14,
)


@pytest.mark.slow
@given(STEPS)
@examples(60)
def test_whatever_comes_in_whatever_order_each_job_ends_once_and_gives_back(steps: list[tuple[str, int]]) -> None:
    asyncio.run(play(steps))


async def play(steps: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.sqlite")
        await journal.open()
        host = Host(Path(folder), journal, (gpu(1), gpu(2)))
        failing = {name: Failing(host.executor, name) for name in ("poll", "cancel", "discard")}
        failing["data"] = Failing(host.services.data, "discard")
        failing["journal"] = Failing(journal, "save", lambda: JournalError("the disk is full"))
        jobs: list[str] = []
        for name, number in steps:
            if name in failing:
                failing[name].times = number
            else:
                await act(host, jobs, name, number)
        for one in failing.values():
            one.times = 0
        host.orchestrator.stop()
        await until(lambda: not host.orchestrator.runs)
        await check(host, jobs)
        await host.orchestrator.close()
        await journal.close()


async def act(host: Host, jobs: list[str], name: str, number: int) -> None:
    job = jobs[number % len(jobs)] if jobs else None
    match name:
        case "accept":
            ordered = order()
            jobs.append(ordered.job)
            await host.orchestrator.accept(ordered)
        case "accept and cancel":
            ordered = order()
            jobs.append(ordered.job)
            await asyncio.gather(host.orchestrator.accept(ordered), host.orchestrator.cancel(cancel(ordered.job)))
        case "cancel" if job:
            await asyncio.wait({asyncio.create_task(host.orchestrator.cancel(cancel(job)))}, timeout=1.5)
        case "exit" if job in host.executor.running:
            host.executor.running[job].set()
        case "stop":
            host.orchestrator.stop()
        case "go":
            host.services.holds.start()
        case "restart":
            await asyncio.sleep(0.06)
            await restart(host)
        case "restart at once":
            await restart(host)
        case "pause":
            await asyncio.sleep(0.03)


async def check(host: Host, jobs: list[str]) -> None:
    assert host.pool._held == {}
    assert host.executor.running == {}
    assert await host.journal.open_jobs() == []
    started = [job for job, _ in host.executor.started]
    assert len(started) == len(set(started)), "a job ran twice"
    ends = await told(host)
    for job in jobs:
        found = JobRecord.model_validate(await host.journal.known(job))
        assert found.state in TERMINAL
        assert found.remaining == ()
        assert set(ends[job]) == {found.state.value}


async def told(host: Host) -> dict[str, list[str]]:
    """The terminal states of each job that went to the centre."""
    ends: dict[str, list[str]] = {}
    for message in await host.journal.outgoing(0, 10_000):
        snapshot = json.loads(message.body)
        if snapshot.get("state") in {state.value for state in TERMINAL}:
            ends.setdefault(snapshot["job"], []).append(snapshot["state"])
    return ends


async def restart(host: Host) -> None:
    """The daemon ends, and the next one has the journal and finds the processes."""
    await host.orchestrator.close()
    host.services.pool = host.pool = Pool(host.pool._total)
    host.orchestrator = Orchestrator(host.services)
    await host.orchestrator.resume()
