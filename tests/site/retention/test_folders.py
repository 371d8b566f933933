"""What lies on the disk of jobs that are over, and of fetched packages, goes; what is in use stays."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from tests.site.retention.conftest import Time
from tests.support.nested import nested_folders
from tests.support.orchestrator import Host, order

from fedproc.contract.ids import new_id
from fedproc.site.executors import records
from fedproc.site.executors.base import ExecutorError
from fedproc.site.executors.records import records_in
from fedproc.site.retention.folders import ExecutorRecords, JobFolders, PackageCache, size_of
from fedproc.site.retention.journal import ended_at
from fedproc.site.retention.keeper import Retention
from fedproc.site.tools.image_roots.tree import remove_tree


async def test_folder_that_was_kept_for_debugging_goes_and_those_of_open_jobs_stay(host: Host, clock: Time) -> None:
    open_job, over = order(), new_id("j")
    await host.orchestrator.accept(open_job)
    await host.runs(open_job.job)
    jobs = host.services.settings.state / "jobs"
    (jobs / over / "work").mkdir(parents=True)
    (jobs / over / "work" / "file").write_bytes(b"x" * 10_000)
    (jobs / "of somebody").mkdir()
    kind = JobFolders(jobs, 7, lambda job: job in host.orchestrator.runs, partial(ended_at, host.journal))
    found = await kind.survey(clock())
    assert (found.count, found.due) == (1, 0)
    assert found.size >= 10_000
    clock.go_on(8)
    assert (await kind.survey(clock())).due == 1
    assert [await kind.remove(clock()), await kind.remove(clock())] == [1, 0]
    assert sorted(path.name for path in jobs.iterdir()) == sorted([open_job.job, "of somebody"])


async def test_folder_of_a_long_job_is_kept_from_its_end_on(host: Host, clock: Time) -> None:
    """Its folder was made when it was laid out, and has not changed since: only what is below has."""
    long, jobs = order(), host.services.settings.state / "jobs"
    host.services.settings.keep_job_folders = True  # type: ignore[misc]
    await host.orchestrator.accept(long)
    await host.runs(long.job)
    clock.go_on(8)
    host.executor.running[long.job].set()
    await host.ended(long.job)
    kind = JobFolders(jobs, 7, lambda _: False, partial(ended_at, host.journal))
    assert (await kind.survey(clock())).due == 0
    assert await kind.remove(clock()) == 0
    assert (jobs / long.job).exists()
    clock.go_on(7.5)
    assert await kind.remove(clock()) == 1
    assert not (jobs / long.job).exists()


async def test_executor_is_told_to_forget_what_nobody_knows(host: Host, clock: Time) -> None:
    open_job = order()
    await host.orchestrator.accept(open_job)
    await host.runs(open_job.job)
    lost, step = new_id("j"), f"{new_id('j')}-0"
    host.executor.running |= dict.fromkeys((lost, step, "other"), host.executor.running[open_job.job])
    kind = ExecutorRecords(host.executor, 7, lambda job: job in host.orchestrator.runs)
    assert (await kind.survey(clock())).count == 4
    while await kind.remove(clock()):
        pass
    assert set(host.executor.running) == {open_job.job, "other"}


async def test_records_of_the_steps_of_an_open_job_stay(host: Host, clock: Time) -> None:
    open_job = order()
    await host.orchestrator.accept(open_job)
    await host.runs(open_job.job)
    host.executor.running[f"{open_job.job}-0"] = host.executor.running[open_job.job]
    kind = ExecutorRecords(host.executor, 7, lambda job: job in host.orchestrator.runs)
    assert await kind.remove(clock()) == 0
    assert (await kind.survey(clock())).due == 0


class OfTheReleaseBefore:
    async def records(self) -> None:
        raise ExecutorError("the job runner: request not understood: KeyError 'records'")


async def test_runner_of_the_release_before_is_not_asked_for_more(clock: Time) -> None:
    kind = ExecutorRecords(OfTheReleaseBefore(), 7, lambda _: False)  # type: ignore[arg-type]
    assert (await kind.survey(clock())).count == 0
    assert await kind.remove(clock()) == 0


def test_records_are_listed_with_their_age_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "j-1").mkdir()
    (tmp_path / "j-1" / "record.jsonl").write_bytes(b"x" * 5000)
    os.utime(tmp_path / "j-1" / "record.jsonl", (1000, 1000))
    (tmp_path / "j-2").mkdir()
    found = records_in(tmp_path)
    assert found["j-1"][0] == 1000
    assert found["j-1"][1] >= 5000
    assert set(found) == {"j-1", "j-2"}
    assert records_in(tmp_path / "nothing") == {}


def test_no_more_records_are_listed_than_one_answer_holds_and_the_oldest_are_among_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MOST_RECORDS", 3)
    for number in range(6):
        (tmp_path / f"j-{number}").mkdir()
        os.utime(tmp_path / f"j-{number}", (1000 - number, 1000 - number))
    assert set(records_in(tmp_path)) == {"j-3", "j-4", "j-5"}


async def test_packages_that_were_fetched_long_ago_go_from_the_hosts_own_cache(
    tmp_path: Path, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "state" / ".cache" / "pip"
    cache.mkdir(parents=True)
    (cache / "old").write_bytes(b"x" * 5000)
    os.utime(cache / "old", (clock() - 40 * 86400,) * 2)
    (cache / "new").write_bytes(b"x")
    monkeypatch.setenv("PIP_CACHE_DIR", str(cache))
    kind = PackageCache(tmp_path / "state", 30)
    found = await kind.survey(clock())
    assert (found.count, found.due) == (2, 1)
    assert [await kind.remove(clock()), await kind.remove(clock())] == [1, 0]
    assert [path.name for path in cache.iterdir()] == ["new"]


async def test_cache_of_somebody_else_is_left_alone(
    tmp_path: Path, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "old").write_bytes(b"x")
    os.utime(tmp_path / "pip" / "old", (1000, 1000))
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip"))
    assert await PackageCache(tmp_path / "state", 30).remove(clock()) == 0


# -- all of it -------------------------------------------------------------------------------------


class Broken:
    name = "broken"

    async def survey(self, now: float) -> None:
        raise OSError(5, "the disk is broken")

    async def remove(self, now: float) -> int:
        raise OSError(5, "the disk is broken")


@pytest.fixture
def retention(host: Host) -> Retention:
    host.services.tool_cache.stored = list  # type: ignore[method-assign]
    host.services.tool_cache.sweep = lambda now: 0  # type: ignore[method-assign]
    host.services.runtimes.kinds = ()
    return Retention(host.services, host.orchestrator)


@pytest.mark.slow
async def test_kind_that_fails_keeps_no_other_from_being_cleaned_and_counted(
    host: Host, clock: Time, retention: Retention
) -> None:
    over = host.services.settings.state / "jobs" / new_id("j")
    over.mkdir(parents=True)
    retention._kinds.insert(0, Broken())  # type: ignore[arg-type]
    clock.go_on(8)
    await retention.clean()
    assert not over.exists()
    found = {kept.kind: kept for kept in await retention.survey()}
    assert "broken" not in found
    assert found["job_folders"].removed == 1
    assert retention.kept == tuple(found.values())


@pytest.mark.parametrize("known", ["compared", "trusted"])
async def test_nothing_is_removed_by_a_clock_that_is_wrong_or_that_nobody_has_compared(
    host: Host, clock: Time, retention: Retention, known: str
) -> None:
    over = host.services.settings.state / "jobs" / new_id("j")
    over.mkdir(parents=True)
    setattr(host.services.identity.clock, known, False)
    clock.go_on(1000)
    await retention.clean()
    assert over.exists()


@pytest.mark.slow
def test_size_counts_folders_of_any_depth_and_follows_no_link(tmp_path: Path) -> None:
    with open(nested_folders(tmp_path / "top", 1200) + "/file", "wb") as file:  # noqa: PTH123
        file.write(b"x" * 10_000)
    (tmp_path / "beside").write_bytes(b"x" * 100_000)
    (tmp_path / "top" / "link").symlink_to(tmp_path)
    assert 10_000 <= size_of(tmp_path / "top") < 50_000
    assert size_of(tmp_path / "none") == 0
    remove_tree(tmp_path / "top")  # which pytest cannot
