"""What is laid out ahead of an experiment's start: held without a share, dropped in time, and found after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.orchestrator import GB, SECONDS, Host, S, gpu, order, record

from fedproc.contract.states import FOR_START
from fedproc.contract.times import now
from fedproc.contract.wire.messages import Cancel, JobOrder, Proceed, Snapshot
from fedproc.site.jobs import ahead
from fedproc.site.journal import Journal


@pytest.fixture
async def host(tmp_path: Path, journal: Journal) -> AsyncIterator[Host]:
    host = Host(tmp_path, journal, (gpu(1), gpu(2)))
    yield host
    await host.orchestrator.close()


def ahead_order() -> JobOrder:
    return order().model_copy(update={"ahead": True})


async def waits(host: Host, job: str) -> str:
    """Its words, once it waits for the start."""
    async with asyncio.timeout(SECONDS):
        while not (text := host.orchestrator.runs[job].record.waiting_for or "").startswith(FOR_START):
            await asyncio.sleep(0.01)
    return text


async def laid_out(host: Host) -> JobOrder:
    ordered = ahead_order()
    await host.orchestrator.accept(ordered)
    await waits(host, ordered.job)
    return ordered


async def test_job_is_laid_out_and_runs_at_the_word_alone(host: Host) -> None:
    ordered = await laid_out(host)
    run = host.orchestrator.runs[ordered.job]
    assert (run.record.state, run.record.ready, host.executor.started) == (S.materialising, True, [])
    assert host.pool._held == {}, "who waits for days holds nothing of the machine"
    assert host.services.workspace(ordered.job).is_staged_in()
    for _ in range(2):
        await host.orchestrator.proceed(Proceed(job=ordered.job))
    await host.runs(ordered.job)
    assert host.executor.started == [(ordered.job, ("GPU-1",))]
    assert not run.record.ready, "a service that serves says so itself"


async def test_order_without_the_key_runs_at_once(host: Host) -> None:
    ordered = order()
    await host.orchestrator.accept(ordered)
    await host.runs(ordered.job)


async def test_word_before_all_is_laid_out_counts(host: Host) -> None:
    host.tools.hold()
    ordered = ahead_order()
    await host.orchestrator.accept(ordered)
    await host.orchestrator.proceed(Proceed(job=ordered.job))
    host.tools._there.set()
    await host.runs(ordered.job)


async def test_cancel_leaves_nothing_behind(host: Host) -> None:
    ordered = await laid_out(host)
    await host.orchestrator.cancel(Cancel(job=ordered.job))
    assert (await host.ended(ordered.job)).state is S.cancelled
    assert not host.services.workspace(ordered.job).root.exists()


@pytest.mark.slow
async def test_site_holds_it_no_longer_than_its_settings_say(host: Host) -> None:
    host.services.settings.prepare_days = 0.5 / 86_400  # type: ignore[misc]
    ordered = await laid_out(host)
    found = await host.ended(ordered.job)
    assert (found.state, found.code) == (S.expired, "expired")
    assert "was not started" in (found.reason or "")
    assert not host.services.workspace(ordered.job).root.exists()


@pytest.mark.slow
async def test_it_is_held_until_it_must_have_started_at_the_latest(host: Host) -> None:
    ordered = ahead_order()
    soon = ordered.deadlines.model_copy(update={"start_by": now() + timedelta(seconds=0.5)})
    ordered = ordered.model_copy(update={"deadlines": soon})
    await host.orchestrator.accept(ordered)
    assert (await host.ended(ordered.job)).state is S.expired


async def test_restart_goes_on_holding_and_keeps_the_first_moment(tmp_path: Path, journal: Journal) -> None:
    first = Host(tmp_path, journal, (gpu(1),))
    ordered = await laid_out(first)
    await first.orchestrator.runs[ordered.job]._writer.written()
    since = first.orchestrator.runs[ordered.job].record.laid_out
    await first.orchestrator.close()
    second = Host(tmp_path, journal, (gpu(1),))
    await second.orchestrator.resume()
    await waits(second, ordered.job)
    assert second.orchestrator.runs[ordered.job].record.laid_out == since
    await second.orchestrator.proceed(Proceed(job=ordered.job))
    await second.runs(ordered.job)
    await second.orchestrator.close()


async def test_restart_after_the_word_needs_no_second_one(host: Host) -> None:
    told = record(S.materialising)
    told.order = told.order.model_copy(update={"ahead": True})
    told.share, told.proceed, told.laid_out = None, True, now()
    job = await host.has(told)
    await host.orchestrator.resume()
    await host.runs(job)


async def test_site_that_lays_out_nothing_says_so_and_waits_for_the_word(host: Host) -> None:
    """Its settings have changed since it told the centre otherwise."""
    host.services.settings.prepare_days = 0.0  # type: ignore[misc]
    ordered = ahead_order()
    await host.orchestrator.accept(ordered)
    assert "nothing is laid out" in await waits(host, ordered.job)
    assert not host.services.workspace(ordered.job).root.exists()
    await host.orchestrator.proceed(Proceed(job=ordered.job))
    await host.runs(ordered.job)


async def test_nothing_is_laid_out_while_the_host_withholds_what_it_has(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_PAUSE", 0.01)
    host.pool.fit((gpu(1),), withheld="its disk is nearly full")
    ordered = ahead_order()
    await host.orchestrator.accept(ordered)
    async with asyncio.timeout(SECONDS):
        while host.orchestrator.runs[ordered.job].record.waiting_for != "its disk is nearly full":
            await asyncio.sleep(0.01)
    assert not host.services.workspace(ordered.job).root.exists()
    host.pool.fit((gpu(1),))
    await waits(host, ordered.job)


async def test_job_that_can_never_fit_is_refused_before_anything_is_laid_out(host: Host) -> None:
    host.tools.want(memory_mb=9 * GB // 10**6)
    ordered = ahead_order()
    await host.orchestrator.accept(ordered)
    found = await host.ended(ordered.job)
    assert (found.state, found.code) == (S.refused, "policy.too_large")


async def test_word_for_a_job_that_is_not_here_changes_nothing(host: Host) -> None:
    await host.orchestrator.proceed(Proceed(job=order().job))


def test_centre_of_the_release_before_reads_the_snapshot() -> None:
    known: Any = {"host": "UB", "epoch": "e", "job": order().job, "experiment": order().experiment, "sequence": 1,
                  "state": "materialising", "ready": True}  # fmt: skip
    assert Snapshot.model_validate(known).ready
