"""What is over leaves the journal, and nothing that is gone from it runs once more."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.site.retention.conftest import Time
from tests.support.orchestrator import Host, S, order

from fedproc.contract.ids import new_id
from fedproc.contract.wire.messages import Cancel, Deadlines, JobOrder
from fedproc.site.jobs.reconciliation import Reconciliation
from fedproc.site.journal import Journal
from fedproc.site.retention.journal import kinds_of
from fedproc.site.retention.kept import Kept
from fedproc.site.settings import RetentionSettings

DAYS = RetentionSettings()


async def cleaned(journal: Journal, clock: Time) -> dict[str, int]:
    """Remove all that is due; says what of each kind."""
    removed = {}
    for kind in kinds_of(journal, DAYS):
        removed[kind.name] = 0
        while batch := await kind.remove(clock()):
            removed[kind.name] += batch
    return {name: count for name, count in removed.items() if count}


async def kept(journal: Journal, clock: Time) -> dict[str, Kept]:
    return {found.kind: found for found in [await kind.survey(clock()) for kind in kinds_of(journal, DAYS)]}


async def ended(host: Host, *, release_in_days: float = 1) -> JobOrder:
    """A job that was taken on, and has been cancelled."""
    last = host.services.identity.clock.now() + timedelta(days=release_in_days)
    ordered = order().model_copy(update={"deadlines": Deadlines(start_by=last, end_by=last, release_by=last)})
    await host.orchestrator.accept(ordered)
    await host.orchestrator.cancel(Cancel(job=ordered.job))
    await host.ended(ordered.job)
    return ordered


# -- ended jobs ------------------------------------------------------------------------------------


async def test_record_goes_after_its_days_and_an_open_one_never(host: Host, clock: Time) -> None:
    ordered, still = await ended(host), order()
    await host.orchestrator.accept(still)
    await host.runs(still.job)
    clock.go_on(29)
    assert await cleaned(host.journal, clock) == {}
    assert await host.journal.known(ordered.job) is not None
    clock.go_on(2)
    assert (await cleaned(host.journal, clock))["jobs"] == 1
    assert await host.journal.known(ordered.job) is None
    assert await host.journal.known(still.job) is not None


@pytest.mark.parametrize("days", [31, 90])
async def test_order_that_comes_again_after_its_record_has_gone_runs_nothing(
    host: Host, clock: Time, days: float
) -> None:
    """It waited at the broker, was sent again by a centre that was put back, or another's: it is the same job."""
    ordered = await ended(host, release_in_days=days + 1)
    host.executor.started.clear()
    clock.go_on(days)
    assert (await cleaned(host.journal, clock))["jobs"] == 1
    later = order().model_copy(update={"deadlines": ordered.deadlines})
    await host.orchestrator.accept(ordered)
    await host.orchestrator.accept(later)
    await host.runs(later.job)
    assert set(host.orchestrator.runs) == {later.job}
    assert {job for job, _ in host.executor.started} == {later.job}


async def test_id_goes_when_its_order_would_be_ended_anyway(host: Host, clock: Time) -> None:
    ordered = await ended(host, release_in_days=60)
    host.executor.started.clear()
    clock.go_on(31)
    await cleaned(host.journal, clock)
    clock.go_on(35)
    assert (await kept(host.journal, clock))["job_ids"].count == 1
    clock.go_on(2)
    assert (await cleaned(host.journal, clock))["job_ids"] == 1
    assert not await host.journal.has(ordered.job)
    await host.orchestrator.accept(ordered)
    found = await host.ended(ordered.job)
    assert (found.state, found.code) == (S.cancelled, "expired")
    assert host.executor.started == []


async def test_cancel_of_a_job_whose_record_has_gone_leaves_no_tombstone(host: Host, clock: Time) -> None:
    ordered = await ended(host, release_in_days=90)
    clock.go_on(31)
    await cleaned(host.journal, clock)
    await host.orchestrator.cancel(Cancel(job=ordered.job))
    assert (await kept(host.journal, clock))["tombstones"].count == 0


async def test_centre_that_asks_for_a_job_whose_record_has_gone_gets_no_answer(host: Host, clock: Time) -> None:
    """It then ends the job itself, as one that its host does not have."""
    ordered = await ended(host, release_in_days=90)
    clock.go_on(31)
    await cleaned(host.journal, clock)
    before = len(await host.journal.outgoing(0))
    await Reconciliation(host.services, host.orchestrator)._resend(ordered.job)
    assert len(await host.journal.outgoing(0)) == before


async def test_job_that_has_ended_and_is_not_cleaned_away_stays(journal: Journal, clock: Time) -> None:
    job = new_id("j")
    await journal.accept(job, {"state": "accepted"}, [])
    await journal.save(job, {"state": "succeeded", "remaining": ["folder"]}, [])
    clock.go_on(1000)
    assert await cleaned(journal, clock) == {}
    assert [found for found, _ in await journal.open_jobs()] == [job]


async def test_id_of_a_job_whose_deadline_cannot_be_read_stays_for_long(journal: Journal, clock: Time) -> None:
    job = new_id("j")
    await journal.accept(job, {"state": "accepted"}, [])
    await journal.save(job, {"state": "succeeded"}, [])
    clock.go_on(31)
    assert await cleaned(journal, clock) == {"jobs": 1}
    clock.go_on(350)
    assert await cleaned(journal, clock) == {}
    assert await journal.accept(job, {"state": "accepted"}, []) is None
    clock.go_on(60)
    assert await cleaned(journal, clock) == {"job_ids": 1}


@pytest.mark.slow
async def test_many_go_in_batches_that_let_others_write(journal: Journal, clock: Time) -> None:
    for _ in range(450):
        job = new_id("j")
        await journal.accept(job, {"state": "accepted"}, [])
        await journal.save(job, {"state": "succeeded"}, [])
    clock.go_on(31)
    jobs = next(kind for kind in kinds_of(journal, DAYS) if kind.name == "jobs")
    assert [await jobs.remove(clock()) for _ in range(4)] == [200, 200, 50, 0]


@pytest.mark.slow
async def test_figures_say_what_is_kept_and_what_goes_when(host: Host, clock: Time) -> None:
    await ended(host, release_in_days=90)
    clock.go_on(20)
    await ended(host, release_in_days=90)
    clock.go_on(11)
    found = (await kept(host.journal, clock))["jobs"]
    assert (found.count, found.due, found.days) == (2, 1, 30)
    assert found.size > 1000
    assert found.oldest == pytest.approx(clock() - 31 * 86400, abs=60)
    assert found.following == pytest.approx(clock() + 19 * 86400, abs=60)
    assert json.dumps(found.as_json())


# -- the rest --------------------------------------------------------------------------------------


async def test_tombstone_goes_with_its_job_or_after_its_days(journal: Journal, clock: Time) -> None:
    met, never = new_id("j"), new_id("j")
    for job in (met, never):
        await journal.tombstone(job, {"job": job})
    await journal.accept(met, {"state": "accepted"}, [])
    assert (await kept(journal, clock))["tombstones"].count == 1
    clock.go_on(399)
    assert await cleaned(journal, clock) == {}
    clock.go_on(2)
    assert await cleaned(journal, clock) == {"tombstones": 1}
    assert await journal.read(lambda c: c.execute("SELECT COUNT(*) FROM tombstone_times").fetchone()) == (0,)


async def test_last_state_of_each_job_waits_for_the_centre_however_long(journal: Journal, clock: Time) -> None:
    one, other = new_id("j"), new_id("j")
    bodies: Sequence[tuple[str, Any]] = [
        ("snapshot", {"job": one, "sequence": 1}),
        ("record", {"job": one, "lines": ["x"]}),
        ("snapshot", {"job": other, "sequence": 1}),
        ("snapshot", {"job": one, "sequence": 2}),
        ("unread", {"host": "UB"}),
    ]
    await journal.emit([(kind, json.dumps(body)) for kind, body in bodies])
    await journal.emit([("record", "{"), ("snapshot", "[]")])
    clock.go_on(29)
    assert await cleaned(journal, clock) == {}
    clock.go_on(2)
    await journal.emit([("record", json.dumps({"job": one}))])
    assert (await kept(journal, clock))["outbox"].due == 5
    assert await cleaned(journal, clock) == {"outbox": 5}
    left = [json.loads(entry.body) for entry in await journal.outgoing(0)]
    assert left == [{"job": other, "sequence": 1}, {"job": one, "sequence": 2}, {"job": one}]


async def test_messages_are_counted_without_one_of_them_being_read(
    journal: Journal, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"job": new_id("j"), "text": "ä" * 1000}, ensure_ascii=False)
    await journal.emit([("snapshot", body), ("record", body)])
    await journal.write(
        lambda c: c.execute("INSERT INTO outbox (kind, body, at) VALUES ('snapshot', x'ff', 1)") and None
    )
    read: list[Any] = []
    real = sqlite3.connect

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = real(*arguments, **options)
        connection.row_factory = lambda _, row: read.extend(row) or row
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    found = (await kept(journal, clock))["outbox"]
    assert (found.count, found.size, found.due) == (3, 2 * len(body.encode()) + 1, 1)
    assert [value for value in read if isinstance(value, str | bytes) and len(value) > 100] == []


async def test_record_that_was_set_aside_goes_and_its_id_stays(journal: Journal, clock: Time) -> None:
    job = new_id("j")
    await journal.accept(job, {"state": "accepted"}, [])
    await journal.set_aside(job, "no JSON", [])
    clock.go_on(31)
    assert await cleaned(journal, clock) == {"unreadable": 1}
    assert await journal.has(job)


async def test_nothing_goes_where_the_settings_keep_it_for_good(journal: Journal, clock: Time) -> None:
    job = new_id("j")
    await journal.accept(job, {"state": "accepted"}, [])
    await journal.save(job, {"state": "succeeded"}, [])
    clock.go_on(10_000)
    kinds = {kind.name: kind for kind in kinds_of(journal, RetentionSettings(jobs_days=0))}
    assert await kinds["jobs"].remove(clock()) == 0
    found = await kinds["jobs"].survey(clock())
    assert (found.count, found.due, found.following) == (1, 0, None)


# -- the file --------------------------------------------------------------------------------------


def _pages(path: Path) -> tuple[int, int]:
    with sqlite3.connect(path) as found:
        return found.execute("PRAGMA page_count").fetchone()[0], found.execute("PRAGMA freelist_count").fetchone()[0]


@pytest.mark.slow
async def test_file_is_cut_down_when_much_of_it_is_free(journal: Journal, clock: Time) -> None:
    for _ in range(300):
        job = new_id("j")
        await journal.accept(job, {"state": "accepted"}, [])
        await journal.save(job, {"state": "succeeded", "pad": "x" * 50_000}, [])
    before, _ = _pages(journal.path)
    clock.go_on(31)
    removed = await cleaned(journal, clock)
    assert removed["jobs"] == 300
    after, free = _pages(journal.path)
    assert before > 3000
    assert after < before / 2
    assert free * 4096 <= 4 << 20


OF_THE_RELEASE_BEFORE = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE jobs (id TEXT PRIMARY KEY, state TEXT NOT NULL, open INTEGER NOT NULL, doc TEXT NOT NULL);
CREATE TABLE tombstones (job TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, body TEXT NOT NULL);
INSERT INTO meta VALUES ('epoch', 'e1');
"""


async def test_journal_of_the_release_before_is_taken_over_and_may_go_back(tmp_path: Path, clock: Time) -> None:
    path, old, open_job = tmp_path / "old.sqlite", new_id("j"), new_id("j")
    with sqlite3.connect(path) as made:
        made.executescript(OF_THE_RELEASE_BEFORE)
        made.execute("INSERT INTO jobs VALUES (?, 'succeeded', 0, '{}')", (old,))
        made.execute("INSERT INTO jobs VALUES (?, 'running', 1, '{}')", (open_job,))
        made.execute("INSERT INTO tombstones VALUES ('j-x', '{}')")
        made.execute("INSERT INTO outbox (kind, body) VALUES ('record', '{}')")
    made.close()
    journal = Journal(path)
    await journal.open()
    assert journal.epoch == "e1"
    clock.go_on(29)
    assert await cleaned(journal, clock) == {}
    clock.go_on(2)
    assert await cleaned(journal, clock) == {"jobs": 1, "outbox": 1}
    assert [job for job, _ in await journal.open_jobs()] == [open_job]
    assert await journal.read(lambda c: c.execute("PRAGMA auto_vacuum").fetchone()) == (2,)
    await journal.close()
    with sqlite3.connect(path) as back:  # as the release before writes
        back.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?, 1, ?)", ("j-y", "accepted", "{}"))
        back.execute("INSERT OR IGNORE INTO tombstones VALUES (?, ?)", ("j-z", "{}"))
        back.execute("INSERT INTO outbox (kind, body) VALUES (?, ?)", ("record", "{}"))
