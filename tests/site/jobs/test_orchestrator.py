"""The stop switch and a restart: what is started, what is ended, and who holds which GPU, whatever comes when."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.orchestrator import GB, OPEN, SECONDS, Host, S, gpu, order, record

from fedproc.common.errors import SystemFaultError
from fedproc.contract.states import JobState
from fedproc.contract.times import now
from fedproc.contract.wire.messages import JobOrder, Start
from fedproc.site.jobs import execution as execution_module
from fedproc.site.jobs import logged, writer
from fedproc.site.jobs import run as jobs_run
from fedproc.site.jobs.adoption import adopt_shares
from fedproc.site.jobs.record import EndStep, JobRecord
from fedproc.site.jobs.release.opinions import Reviewer, Word
from fedproc.site.jobs.reviewing import Decision
from fedproc.site.jobs.run import JobRun
from fedproc.site.jobs.verdict import Verdict
from fedproc.site.journal import Journal


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


@pytest.mark.slow
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


@pytest.mark.slow
async def test_time_in_a_clusters_queue_is_none_of_a_jobs_limit(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedproc.site.jobs.execution._LOOK_SECONDS", 0.01)
    ordered, host.executor.queued = order(), True
    host.tools.want(run_seconds=1)
    await host.orchestrator.accept(ordered)
    await host.runs(ordered.job)
    await asyncio.sleep(1.5)
    assert not host.executor.cancelled
    host.executor.queued = False
    found = await host.ended(ordered.job)
    assert (found.state, found.code) == (S.failed, "tool_fault.time_limit")


@pytest.mark.parametrize("restarted", [False, True])
async def test_job_that_still_waits_in_a_clusters_queue_by_its_start_deadline_expires(
    host: Host, monkeypatch: pytest.MonkeyPatch, restarted: bool
) -> None:
    monkeypatch.setattr(execution_module, "_LOOK_SECONDS", 0.01)
    host.executor.queued = True
    if restarted:
        waits = record(S.running, ("GPU-1",))
        job = await host.has(waits)
        await host.orchestrator.resume()
    else:
        ordered = order()
        job = ordered.job
        await host.orchestrator.accept(ordered)
        await host.runs(job)
    deadlines = host.orchestrator.runs[job].record.order.deadlines
    late = deadlines.model_copy(update={"start_by": now()})
    host.orchestrator.runs[job].record.order = order().model_copy(update={"job": job, "deadlines": late})
    found = await host.ended(job)
    assert (found.state, found.code) == (S.expired, "expired")
    assert "could not start" in str(found.reason)


@pytest.mark.parametrize("before", ["tool", "log"])
@pytest.mark.slow
async def test_start_deadline_counts_for_all_that_comes_before_the_start(
    host: Host, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    soon = now() + timedelta(seconds=0.2)
    ordered = order()
    ordered = ordered.model_copy(update={"deadlines": ordered.deadlines.model_copy(update={"start_by": soon})})
    if before == "tool":
        host.tools.hold()
    else:
        monkeypatch.setattr(logged, "note_start", lambda *_: asyncio.Event().wait())
    await host.orchestrator.accept(ordered)
    found = await host.ended(ordered.job)
    assert (found.state, found.code) == (S.expired, "expired")
    assert "could not start" in str(found.reason)
    assert host.executor.started == []


@pytest.mark.slow
async def test_job_says_that_its_packages_are_fetched_where_that_takes_long(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_LONG", 0.01)
    made, ready = asyncio.Event(), host.services.runtimes.ready

    async def slowly(*asked: Any) -> Any:
        await made.wait()
        return await ready(*asked)

    monkeypatch.setattr(host.services.runtimes, "ready", slowly)
    ordered = order()
    await host.orchestrator.accept(ordered)
    async with asyncio.timeout(SECONDS):
        while host.orchestrator.runs[ordered.job].record.waiting_for != jobs_run.MAKING:
            await asyncio.sleep(0.01)
    made.set()
    await host.runs(ordered.job)
    assert host.orchestrator.runs[ordered.job].record.waiting_for is None


# -- GPUs after a restart ------------------------------------------------------------------------


@pytest.mark.slow
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


@pytest.mark.slow
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


async def test_what_the_daemon_before_may_have_started_keeps_its_gpu_until_it_is_gone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was submitted, and the journal does not know; its GPU is not in the first sample, and then comes back."""
    discard, answers = host.executor.discard, asyncio.Event()

    async def slowly(handle: dict[str, Any]) -> None:
        await answers.wait()
        await discard(handle)

    monkeypatch.setattr(host.executor, "discard", slowly)
    started = await host.has(record(S.prepared, ("GPU-7",)))
    host.executor.running[started] = asyncio.Event()
    await host.orchestrator.resume()
    host.pool.fit((gpu(7),))
    waits = order()
    await host.orchestrator.accept(waits)
    while host.orchestrator.runs[waits.job].record.waiting_for is None:
        await asyncio.sleep(0.01)
    assert host.executor.started == []
    answers.set()
    await host.runs(started)
    assert host.executor.started == [(started, ("GPU-7",))]


async def test_job_that_runs_on_two_gpus_shares_none_of_them_though_one_is_silent(host: Host) -> None:
    first = await host.has(record(S.running, ("GPU-1",), age=60))
    second = await host.has(record(S.running, ("GPU-7", "GPU-1"), age=5))
    await host.orchestrator.resume()
    found = await host.ended(second)
    assert (found.state, found.code) == (S.error, "system_fault.share")
    assert set(host.orchestrator.runs) == {first}


@pytest.mark.parametrize("share", [None, {}, {"cpus": 1.0, "feet": 3}])
async def test_a_share_that_cannot_be_read_ends_its_job_alone(host: Host, share: dict[str, Any] | None) -> None:
    broken = record(S.running)
    broken.share = share
    job, kept = await host.has(broken), await host.has(record(S.running, ("GPU-1",)))
    await host.orchestrator.resume()
    found = await host.ended(job)
    assert (found.state, found.code) == (S.error, "system_fault.share")
    assert set(host.orchestrator.runs) == {kept}


async def test_what_a_job_wrote_before_a_restart_is_its_own_and_not_lost(host: Host) -> None:
    job = await host.has(record(S.running, ("GPU-1",)))
    nobodys = await host.has(record(S.accepted))
    for each in (job, nobodys):
        work = host.services.workspace(each).work
        work.mkdir(parents=True)
        (work / os.fsdecode(b"M\xfcller.bin")).write_bytes(os.urandom(1_000_000))
        (work / "elsewhere").symlink_to("/")
    host.tools.hold()
    before = host.pool.capacity().disk
    await host.orchestrator.resume()
    assert 1_000_000 <= host.pool.capacity().disk - before < 1_100_000


@pytest.mark.parametrize("state", [S.collecting, S.awaiting_release])
async def test_what_has_run_holds_disk_alone(host: Host, state: JobState) -> None:
    await host.has(record(state, ("GPU-1",)))
    host.tools.hold()
    await host.orchestrator.resume()
    free = host.pool.capacity()
    assert (free.cpus_free, free.memory_free, free.disk_free) == (8, 8 * GB, 8 * GB - 100_000_000)
    assert all(one.free for one in free.gpus)


@pytest.mark.slow
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


async def test_who_was_told_to_have_ended_keeps_his_gpu_while_his_processes_may_be_there(host: Host) -> None:
    """The driver's first sample does not have it; and who runs on another claims that."""
    ending = record(S.running, ("GPU-7",))
    ending.state, ending.verdict, ending.remaining = S.cancelled, Verdict(S.cancelled), tuple(EndStep)
    job = await host.has(ending)
    host.executor.running[job] = asyncio.Event()
    adopt_shares(host.pool, [ending])
    assert host.holds(job) == ("GPU-7",)


async def test_a_running_job_holds_its_share_after_a_restart_for_as_long_as_it_may_run(host: Host) -> None:
    running = record(S.running, ("GPU-1",))
    running.share_until = now() + timedelta(minutes=5)
    adopt_shares(host.pool, [running])
    assert 290 < host.pool._until[running.job] - host.pool._clock() <= 300


# -- gangs -----------------------------------------------------------------------------------------


def gang(hold_seconds: float | None) -> JobOrder:
    """A gang's job whose others were waited for, by the clock of its dispatch, until an hour ago."""
    ordered = order()
    holds = {"hold_until": now() - timedelta(hours=1), "hold_seconds": hold_seconds}
    return ordered.model_copy(update={"gang": True, "deadlines": ordered.deadlines.model_copy(update=holds)})


@pytest.mark.slow
async def test_a_gang_that_queued_for_long_is_held_from_when_it_is_prepared(host: Host) -> None:
    ordered = gang(60)
    await host.orchestrator.accept(ordered)
    run = host.orchestrator.runs[ordered.job]
    async with asyncio.timeout(SECONDS):
        while run.record.waiting_for != "the other jobs of its experiment":
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)  # an order that had expired would end now
    assert run.record.state is S.prepared
    await host.orchestrator.start(Start(job=ordered.job))
    await host.runs(ordered.job)


@pytest.mark.slow
@pytest.mark.parametrize("hold_seconds", [0.2, None])
async def test_a_gang_is_held_no_longer_than_that(host: Host, hold_seconds: float | None) -> None:
    ordered = gang(hold_seconds)
    await host.orchestrator.accept(ordered)
    found = await host.ended(ordered.job)
    assert (found.state, str(found.reason)[:35]) == (S.expired, "the other jobs of its experiment we")
    assert host.pool._held == {}


async def test_the_first_decision_about_a_release_counts_and_whoever_comes_later_is_told(host: Host) -> None:
    released = record(S.awaiting_release)
    released.sealed, released.decision = {"a/b": "0" * 64}, Decision(release=True, reason="fine", hashes={})
    run = JobRun(host.services, released)
    with pytest.raises(SystemFaultError, match=r"was released before \(fine\)"):
        await run.decide(Word(Reviewer("root", is_listed=True), False, "no"))
    assert released.decision.release


@pytest.mark.slow
async def test_recalled_versions_jobs_end_at_once_and_new_ones_are_refused(host: Host) -> None:
    running, other = order(), order()
    other = other.model_copy(update={"tool": other.tool.model_copy(update={"digest": "sha256:" + "b" * 64})})
    for each in (running, other):
        await host.orchestrator.accept(each)
    await host.runs(running.job, other.job)
    recalled = {"recalled": (running.tool.digest,)}
    host.services.policy = host.services.policy.model_copy(update=recalled)
    host.orchestrator.stop_refused()
    ended = await host.ended(running.job)
    assert (ended.state, ended.code) == (S.refused, "policy.recalled")
    assert "recalled version 1.0.0" in (ended.reason or "")
    assert other.job in host.orchestrator.runs, "another version goes on"
    late = order()
    await host.orchestrator.accept(late)
    assert (await host.ended(late.job)).code == "policy.recalled"
    host.executor.running[other.job].set()
    await host.ended(other.job)


@pytest.mark.parametrize("is_told", [True, False])
async def test_job_whose_tool_was_taken_away_while_it_waited_does_not_start(host: Host, is_told: bool) -> None:
    running = [await host.has(record(S.running, (name,))) for name in ("GPU-1", "GPU-2")]
    await host.orchestrator.resume()
    waits = order()
    await host.orchestrator.accept(waits)
    while host.orchestrator.runs[waits.job].record.waiting_for is None:
        await asyncio.sleep(0.01)
    host.services.policy = host.services.policy.model_copy(update={"tools": ()})
    if is_told:
        host.orchestrator.stop_refused()
    else:  # the policy is another one at the last moment
        host.executor.running[running[0]].set()
    ended = await host.ended(waits.job)
    assert (ended.state, ended.code) == (S.refused, "policy.tool_unknown")
    assert host.executor.started == []
    assert running[1] in host.orchestrator.runs, "what runs goes on to its end"
    await host.orchestrator.close()
