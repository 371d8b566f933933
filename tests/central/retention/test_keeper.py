"""Retention over time: a year leaves no more than a month, a crash loses nothing, one relay works at a time."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from tests.central.retention.conftest import Kept
from tests.support.books import Books

from fedproc.central.db.engine import claimed_alone, connect, read_transaction, write_transaction
from fedproc.central.db.schema import audit, discards, files
from fedproc.central.files.blobs import Blobs
from fedproc.central.files.discards import note
from fedproc.central.retention import figures, keeper
from fedproc.central.retention.keeper import Keeper
from fedproc.central.retention.rules import RULES
from fedproc.central.retention.storage import Storage
from fedproc.central.settings import RetentionSettings
from fedproc.contract.ids import new_id
from fedproc.demo.polling import wait_until

DAY = 86_400.0
WEEKS = 52


def a_week_of_work(kept: Any, at: float) -> None:
    """What a centre gets: some experiments with results, a file, an upload that was cut, a message of nobody."""
    for day in range(3):
        done = kept.experiment(at + day * DAY, "succeeded" if day else "failed")
        kept.result(done, at + day * DAY)
    kept.file(at)
    kept.file(at, "pending")
    kept.books.take(("UB", b"no message"), at=at)
    kept.audit(at)
    kept.enrolment(at)


@pytest.mark.slow
def test_a_year_of_submissions_leaves_rows_and_bytes_flat(kept: Any) -> None:
    days = {
        "experiments": 30, "files": 30, "uploads": 7, "events": 20, "records": 1, "outbox": 7, "dead_letters": 30,
        "enrolments": 30, "audit": 60, "orphans": 7,
    }  # fmt: skip
    rows, blobs = [], []
    for week in range(WEEKS):
        at = kept.start + week * 7 * DAY
        a_week_of_work(kept, at)
        kept.apply(at=at + 6 * DAY, **days)
        rows.append(dict(kept.rows()))
        blobs.append(len(kept.blobs()))
    settled, later = slice(12, 26), slice(26, WEEKS)
    assert max(blobs[later]) <= max(blobs[settled])
    for table in rows[0]:
        assert max(week[table] for week in rows[later]) <= max(week[table] for week in rows[settled]), table
    assert rows[-1]["experiments"] < 20
    with read_transaction(kept.storage.engine) as connection:
        kinds = {row.kind: row for row in figures.read(connection)}
    assert kinds["experiments"].removed > 3 * WEEKS - 20
    assert (kinds["experiments"].rows, kinds["experiments"].bytes) == (rows[-1]["experiments"], 10 * rows[-1]["jobs"])


@pytest.mark.slow
def test_who_dies_in_the_middle_of_it_leaves_nothing_for_ever(kept: Any) -> None:
    old = [kept.experiment(kept.start - 20 * DAY, records=2) for _ in range(3)]
    for experiment in old:
        kept.result(experiment, kept.start)
    lives = 0
    while not kept.count(figures.kept):
        lives += 1
        dying = kept.keeper(experiments=10).apply(kept.start)
        for _, _ in zip(range(lives), dying, strict=False):
            """Each lives for one portion more than the one before it."""
        dying.close()
    assert lives > 5
    left = kept.rows()
    tables = ("experiments", "jobs", "events", "records", "outbox", "files", "deletions", "discards")
    assert {name: left[name] for name in tables} == dict.fromkeys(tables, 0)
    assert kept.blobs() == set()


class _Dying(Blobs):
    """A store that the program dies over."""

    def delete(self, name: str) -> None:
        raise KeyboardInterrupt


def test_bytes_of_a_row_that_is_gone_are_removed_by_who_comes_next(kept: Any, books: Books) -> None:
    file = kept.file(kept.start - 20 * DAY)
    with pytest.raises(KeyboardInterrupt):
        list(kept.keeper(Storage(books.engine, _Dying(books.settings.files)), files=10).apply(kept.start))
    assert (kept.rows()["files"], kept.rows()["discards"], kept.blobs()) == (0, 1, {file})
    list(kept.keeper().due())
    assert (kept.rows()["discards"], kept.blobs()) == (0, set())


def test_bytes_without_an_entry_are_removed_days_after_they_were_found(kept: Any) -> None:
    nobody = new_id("f")
    kept.storage.blobs.create(nobody, 10)
    kept.storage.blobs.put("a" * 64, b"bundle of a tool that was refused")
    kept.storage.blobs.path(nobody).with_name(f".{nobody}.7").write_bytes(b"x")
    named = kept.file(kept.start)
    kept.apply(at=kept.start + 60, orphans=7)
    assert len(kept.blobs()) == 4, "they are a day old at least"
    found = kept.start + 2 * DAY
    kept.apply(at=found, orphans=7)
    assert kept.blobs() == {nobody, "a" * 64, named}
    kept.apply(at=found + 6.9 * DAY, orphans=7)
    assert kept.blobs() == {nobody, "a" * 64, named}
    again = kept.storage.blobs.path("a" * 64)
    kept.storage.blobs.put("a" * 64, b"bundle of a tool that was refused")
    assert time.time() - again.stat().st_mtime < 60
    kept.apply(at=found + 7.1 * DAY, orphans=7)
    assert kept.blobs() == {"a" * 64, named}


def test_what_somebody_else_put_into_the_file_store_stays_and_is_told(
    kept: Any, caplog: pytest.LogCaptureFixture
) -> None:
    folder = kept.storage.blobs.path(kept.file(kept.start)).parent
    strange = [folder / name for name in ("notes.txt", ".hidden", new_id("f")[:-2] + "zz", "b" * 64)]
    for path in strange:
        path.write_bytes(b"somebody's")
    (folder / "more").mkdir()
    for days in (2, 10, 20):
        kept.apply(at=kept.start + days * DAY, orphans=7)
    assert {*strange, folder / "more"} <= set(folder.iterdir())
    assert "retention.strange_files" in caplog.text
    assert "notes.txt" in caplog.text


@pytest.mark.slow
def test_bytes_that_cannot_be_removed_hold_up_no_others_and_are_tried_a_day_later(
    kept: Any, caplog: pytest.LogCaptureFixture
) -> None:
    experiment = kept.experiment(kept.start - 20 * DAY)
    stuck, *_ = (kept.result(experiment, kept.start) for _ in range(4))
    place = kept.storage.blobs.path(stuck)
    place.unlink()
    place.mkdir()  # what no unlink removes, whoever calls it
    upload = kept.file(kept.start - 20 * DAY, "pending")
    kept.storage.blobs.path(upload).unlink()
    kept.storage.blobs.path(upload).mkdir()
    cut = kept.file(kept.start - 19 * DAY, "pending")
    kept.apply(experiments=10, uploads=10)
    assert kept.blobs() == {stuck, upload}
    assert (kept.count(files, id=cut), kept.count(files, id=upload)) == (0, 1)
    assert caplog.text.count("retention.bytes_stay") == 2
    place.rmdir()
    place.write_bytes(b"x")
    kept.apply(at=kept.start + DAY / 2)
    assert kept.blobs() == {stuck, upload}
    kept.apply(at=kept.start + DAY + 1)
    assert kept.blobs() == {upload}


def test_a_kind_that_cannot_be_deleted_now_holds_up_no_other(pg_books: Books, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(pg_books)
    url = pg_books.engine.url.render_as_string(hide_password=False)
    impatient = Storage(connect(url, 0.3), kept.storage.blobs)
    kept.audit(kept.start - 20 * DAY)
    with write_transaction(pg_books.engine) as other:
        other.execute(text("LOCK TABLE dead_letters IN ACCESS EXCLUSIVE MODE"))
        list(kept.keeper(impatient, dead_letters=10, audit=10).apply(kept.start))
    assert kept.count(audit, actor="rosa") == 0
    assert "retention.kind_stays" in caplog.text
    assert "retention.not_counted" in caplog.text
    assert kept.count(figures.kept, time=kept.start) == len(RULES) + 2, "the others were counted"
    impatient.engine.dispose()


def test_many_rows_are_estimated_or_not_all_counted(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(9):
        kept.audit(kept.start)
    monkeypatch.setattr(figures, "_MANY", 5)
    monkeypatch.setattr(figures, "_COUNTED", 7)
    by_estimate = kept.storage.engine.dialect.name != "sqlite"
    if by_estimate:
        with write_transaction(kept.storage.engine) as connection:
            connection.execute(text("ANALYZE audit"))
    kept.apply()
    with read_transaction(kept.storage.engine) as connection:
        rows = {row.kind: row.rows for row in figures.read(connection)}
    assert rows["audit"] == (9 if by_estimate else 7)
    assert rows["dead_letters"] == 0


def test_one_relay_at_a_time_applies_it(kept: Any, books: Books) -> None:
    other = connect(books.settings.database)
    kept.audit(kept.start - 20 * DAY)
    with claimed_alone(other) as first:
        assert first
        list(kept.keeper(audit=10).due())
        everybody = books.engine.dialect.name == "sqlite"
        assert (kept.rows()["kept"] > 0) == everybody
    list(kept.keeper(audit=10).due())
    assert kept.rows()["kept"] > 0
    other.dispose()


def test_all_rules_are_applied_once_an_hour(kept: Any, books: Books) -> None:
    now = kept.start
    diligent = Keeper(RetentionSettings(), kept.storage, lambda: now)
    assert list(diligent.due())
    assert list(diligent.due()) == []
    now += 3601
    assert list(diligent.due())


def test_two_programs_note_the_same_bytes_at_once(pg_books: Books) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with ThreadPoolExecutor() as pool:
        with write_transaction(pg_books.engine) as first:
            note(first, ["f-1", "f-2"], 1.0)
            other = pool.submit(_note, pg_books, ["f-2", "f-3"])
            with read_transaction(pg_books.engine) as looking:
                wait_until(lambda: bool(looking.scalar(waiting)), 60, "the other does not wait", pause=0.01)
        other.result(timeout=60)
    with read_transaction(pg_books.engine) as connection:
        assert set(connection.execute(select(discards.c.name)).scalars()) == {"f-1", "f-2", "f-3"}


def _note(books: Books, names: list[str]) -> None:
    with write_transaction(books.engine) as connection:
        note(connection, names, 2.0)


def test_a_file_store_that_fails_holds_up_nothing_else(kept: Any, tmp_path: Path) -> None:
    elsewhere = Storage(kept.storage.engine, Blobs(tmp_path / "gone"))
    (tmp_path / "gone").rmdir()
    kept.experiment(kept.start - 20 * DAY)
    kept.audit(kept.start - 20 * DAY)
    list(kept.keeper(elsewhere, experiments=10, audit=10, orphans=1).apply(kept.start))
    assert (kept.rows()["experiments"], kept.count(audit, actor="rosa")) == (0, 0)


class _Stumbling(Keeper):
    """Meets once what nobody expects."""

    stumbled = False

    def due(self) -> Any:
        if not self.stumbled:
            self.stumbled = True
            raise RuntimeError
        return super().due()


async def test_it_goes_on_by_itself_whatever_happens(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "TICK", 0.01)
    task = asyncio.create_task(_Stumbling(RetentionSettings(), kept.storage).run())
    try:
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(kept.count, figures.kept):
                await asyncio.sleep(0.02)
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled()
