"""The journal: durable, restartable, and honest about a disk that does not take it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fedproc.contract.ids import new_id
from fedproc.site.journal import Journal, JournalError

JOB = new_id("j")


async def opened(path) -> Journal:
    journal = Journal(path / "journal.sqlite")
    await journal.open()
    return journal


async def test_a_job_is_accepted_once(tmp_path):
    journal = await opened(tmp_path)
    assert await journal.accept(JOB, {"state": "accepted"}, [("snapshot", "{}")])
    assert not await journal.accept(JOB, {"state": "accepted"}, [("snapshot", "{}")])
    assert len(await journal.outgoing(0)) == 1
    await journal.close()


async def test_what_was_answered_outlives_the_program(tmp_path):
    journal = await opened(tmp_path)
    await journal.accept(JOB, {"state": "accepted"}, [])
    await journal.save(JOB, {"state": "running", "handle": {"x": 1}}, [("snapshot", '{"a":1}')])
    epoch = journal.epoch
    await journal.close()
    again = await opened(tmp_path)
    assert again.epoch == epoch
    assert await again.open_jobs() == [(JOB, '{"state": "running", "handle": {"x": 1}}')]
    assert [(e.kind, e.body) for e in await again.outgoing(0)] == [("snapshot", '{"a":1}')]
    await again.close()


async def test_an_ended_job_is_known_but_not_open(tmp_path):
    journal = await opened(tmp_path)
    await journal.accept(JOB, {"state": "accepted"}, [])
    await journal.save(JOB, {"state": "succeeded"}, [])
    assert await journal.open_jobs() == []
    assert await journal.known(JOB) == {"state": "succeeded"}
    await journal.close()


async def test_events_keep_their_order_and_go_when_confirmed(tmp_path):
    journal = await opened(tmp_path)
    await asyncio.gather(*(journal.emit([("record", str(i))]) for i in range(50)))
    waiting = await journal.outgoing(0)
    assert [e.body for e in waiting] == [str(i) for i in range(50)]
    await journal.confirmed([e.id for e in waiting[:49]])
    assert [e.body for e in await journal.outgoing(0)] == ["49"]
    await journal.close()


async def test_a_new_journal_is_a_new_epoch(tmp_path):
    one, two = await opened(tmp_path / "a"), await opened(tmp_path / "b")
    assert one.epoch != two.epoch
    await one.close()
    await two.close()


async def test_tombstones(tmp_path):
    journal = await opened(tmp_path)
    await journal.tombstone(JOB, {"reason": "cancelled"})
    assert await journal.accept(JOB, {"state": "accepted"}, []) == {
        "state": "accepted",
        "cancel": {"reason": "cancelled"},
    }
    await journal.close()


async def test_a_full_disk_is_an_error_and_the_next_write_works(tmp_path):
    journal = await opened(tmp_path)
    pages = await journal.read(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await journal.read(lambda c: c.execute(f"PRAGMA max_page_count={pages + 1}").fetchone())
    with pytest.raises(JournalError, match="make room"):
        await journal.accept(JOB, {"state": "accepted", "pad": "x" * 1_000_000}, [])
    assert await journal.known(JOB) is None
    await journal.read(lambda c: c.execute("PRAGMA max_page_count=1000000").fetchone())
    assert await journal.accept(JOB, {"state": "accepted"}, [])
    await journal.close()


async def test_a_place_that_cannot_be_opened_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot be opened"):
        await Journal(tmp_path / "file" / "journal.sqlite").open()


async def test_synchronous_is_full(tmp_path):
    journal = await opened(tmp_path)
    assert await journal.read(lambda c: c.execute("PRAGMA synchronous").fetchone()) == (2,)
    await journal.close()


async def test_a_write_that_fails_takes_neither_its_neighbours_nor_the_journal_with_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    await journal.open()
    bad = journal.confirmed([2**70])
    good = journal.emit([("snapshot", "{}")])
    results = await asyncio.gather(bad, good, journal.outgoing(0), return_exceptions=True)
    assert isinstance(results[0], JournalError)
    assert results[1] is None
    assert [entry.body for entry in await journal.outgoing(0)] == ["{}"]
    await journal.close()


async def test_record_that_was_set_aside_is_kept_and_its_job_is_taken_on_no_more(tmp_path: Path) -> None:
    journal = await opened(tmp_path)
    await journal.accept(JOB, {"state": "accepted"}, [])
    await journal.write(lambda c: c.execute("UPDATE jobs SET doc = CAST(x'7bff' AS TEXT)") and None)
    assert await journal.open_jobs() == [(JOB, "{\udcff")]
    await journal.set_aside(JOB, "no JSON", [("snapshot", "{}")])
    assert await journal.open_jobs() == []
    assert [(job, reason) for job, reason, _ in await journal.unreadable()] == [(JOB, "no JSON")]
    assert await journal.read(lambda c: c.execute("SELECT doc FROM unreadable").fetchone()) == (b"{\xff",)
    assert await journal.has(JOB)
    assert await journal.accept(JOB, {"state": "accepted"}, []) is None
    await journal.close()


@pytest.mark.parametrize("broken", ["{", "[]", '{"job": "another"}'])
async def test_tombstone_that_cannot_be_read_cancels_all_the_same(tmp_path: Path, broken: str) -> None:
    journal = await opened(tmp_path)
    await journal.write(lambda c: c.execute("INSERT INTO tombstones VALUES (?, ?)", (JOB, broken)) and None)
    assert await journal.accept(JOB, {"state": "accepted"}, []) == {"state": "accepted", "cancel": {"job": JOB}}
    await journal.close()
