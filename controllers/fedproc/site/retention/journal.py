"""What the journal keeps of what is over: it is counted by a reader of its own, and removed a batch at a time.

A record goes some days after its job's end. The job's id stays, so that a redelivered order starts nothing, until the
order's last deadline is past for good: after that the orchestrator ends whatever comes, instead of running it.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any, TypeVar

from fedproc.site.journal import UNKNOWN_DEADLINE, Journal
from fedproc.site.retention.kept import DAY, Kept, Kind, due_before
from fedproc.site.settings import RetentionSettings

T = TypeVar("T")

BATCH = 200
_AFTER_DEADLINE = 7 * DAY
"""for which an id stays beyond its order's last deadline: clocks may differ, and be set"""
_FREE_BYTES = 4 << 20
_FREE_SHARE = 4
_PAGES = 500
"""given back at once, a few milliseconds of the journal's one thread"""


def kinds_of(journal: Journal, days: RetentionSettings) -> list[Kind]:
    """All that the journal keeps."""
    return [
        _EndedJobs(journal, days.jobs_days),
        _Ids(journal),
        _Rows("unreadable", "records that cannot be read", journal, days.jobs_days, _UNREADABLE),
        _Rows("tombstones", "cancels that came before their jobs", journal, days.tombstones_days, _TOMBSTONES),
        _Outbox(journal, days.outbox_days),
        _File(journal),
    ]


async def ended_at(journal: Journal, jobs: Sequence[str]) -> dict[str, float]:
    """When each of these jobs was over, in seconds since 1970; those that the journal does not know are left out."""
    sql = "SELECT job, at FROM endings WHERE job IN (SELECT value FROM json_each(?))"
    return dict(await _read(journal, lambda c: c.execute(sql, (json.dumps(jobs),)).fetchall()))


async def _read(journal: Journal, work: Callable[[sqlite3.Connection], T]) -> T:
    """Beside the writer, whom a long look at large tables would keep from its jobs."""

    def read() -> T:
        with closing(sqlite3.connect(f"file:{journal.path}?mode=ro", uri=True, timeout=10)) as connection:
            connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
            return work(connection)

    return await asyncio.to_thread(read)


# -- tables of which a row goes by its age ---------------------------------------------------------

_ENDED = """
SELECT COUNT(*), SUM(LENGTH(CAST(j.doc AS BLOB))), MIN(e.at), SUM(e.at < :limit),
       MIN(CASE WHEN e.at >= :limit THEN e.at END)
FROM endings e JOIN jobs j ON j.id = e.job WHERE e.until IS NULL"""
_UNREADABLE = (
    """SELECT COUNT(*), SUM(LENGTH(doc)), MIN(at), SUM(at < :limit), MIN(CASE WHEN at >= :limit THEN at END)
    FROM unreadable""",
    "DELETE FROM unreadable WHERE job IN (SELECT job FROM unreadable WHERE at < :limit LIMIT :batch)",
)
_TOMBSTONES = (
    """SELECT COUNT(*), SUM(LENGTH(doc)), MIN(at), SUM(at < :limit), MIN(CASE WHEN at >= :limit THEN at END)
    FROM tombstones LEFT JOIN tombstone_times USING (job)""",
    "DELETE FROM tombstones WHERE job IN (SELECT job FROM tombstone_times WHERE at < :limit LIMIT :batch)",
    "DELETE FROM tombstone_times WHERE job NOT IN (SELECT job FROM tombstones)",
)


class _Rows:
    def __init__(self, name: str, what: str, journal: Journal, days: float, statements: tuple[str, ...]) -> None:
        self.name = name
        self._what = what
        self._journal = journal
        self._days = days
        self._figures, self._remove, *self._then = statements

    async def survey(self, now: float) -> Kept:
        return await _of_table(self._journal, self.name, self._what, self._figures, self._days, now)

    async def remove(self, now: float) -> int:
        values = {"limit": due_before(self._days, now), "batch": BATCH}

        def work(connection: sqlite3.Connection) -> int:
            removed = connection.execute(self._remove, values).rowcount
            for statement in self._then:
                connection.execute(statement)
            return removed

        return await self._journal.write(work)


async def _of_table(journal: Journal, name: str, what: str, sql: str, days: float, now: float) -> Kept:
    values = {"limit": due_before(days, now)}
    count, size, oldest, due, later = await _read(journal, lambda c: c.execute(sql, values).fetchone())
    following = later + days * DAY if later is not None and days else None
    return Kept(name, what, count, size or 0, oldest, days or None, due or 0, following)


# -- jobs ------------------------------------------------------------------------------------------


class _EndedJobs:
    name = "jobs"

    def __init__(self, journal: Journal, days: float) -> None:
        self._journal = journal
        self._days = days

    async def survey(self, now: float) -> Kept:
        return await _of_table(self._journal, self.name, "records of ended jobs", _ENDED, self._days, now)

    async def remove(self, now: float) -> int:
        limit = due_before(self._days, now)

        def work(connection: sqlite3.Connection) -> int:
            sql = (
                "SELECT e.job, j.doc, e.at FROM endings e LEFT JOIN jobs j ON j.id = e.job AND j.open = 0"
                " WHERE e.until IS NULL AND e.at < ? ORDER BY e.at LIMIT ?"
            )
            rows = connection.execute(sql, (limit, BATCH)).fetchall()
            kept = [(_until(doc, at), job) for job, doc, at in rows]
            connection.executemany("UPDATE endings SET until = ? WHERE job = ?", kept)
            connection.executemany("DELETE FROM jobs WHERE id = ? AND open = 0", [(job,) for job, _, _ in rows])
            return len(rows)

        return await self._journal.write(work)


def _until(text: str | None, ended: float) -> float:
    """Until when an order of this job may still come, and would be run."""
    try:
        document: Any = json.loads(text or "")
        deadline = datetime.fromisoformat(document["order"]["deadlines"]["release_by"]).timestamp()
    except (ValueError, KeyError, TypeError, RecursionError):
        return ended + UNKNOWN_DEADLINE
    return max(deadline, ended) + _AFTER_DEADLINE


class _Ids:
    """They go by a date of their own."""

    name = "job_ids"

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def survey(self, now: float) -> Kept:
        sql = """
        SELECT COUNT(*), SUM(LENGTH(job) + 16), MIN(at), SUM(until < :now), MIN(CASE WHEN until >= :now THEN until END)
        FROM endings WHERE until IS NOT NULL"""
        row = await _read(self._journal, lambda c: c.execute(sql, {"now": now}).fetchone())
        count, size, oldest, due, later = row
        what = "ids of jobs whose records are gone"
        return Kept(self.name, what, count, size or 0, oldest, None, due or 0, later)

    async def remove(self, now: float) -> int:
        sql = "DELETE FROM endings WHERE job IN (SELECT job FROM endings WHERE until < ? LIMIT ?)"
        return await self._journal.write(lambda c: c.execute(sql, (now, BATCH)).rowcount)


# -- messages that wait ----------------------------------------------------------------------------

# No body leaves SQLite: a host that its centre does not hear for weeks has very many.
_JOB = """CASE WHEN json_valid(body) THEN CASE WHEN json_type(body, '$.job') = 'text'
    THEN json_extract(body, '$.job') END END"""
_OF_OUTBOX = f"""
WITH snapshots AS (SELECT id, {_JOB} AS job FROM outbox WHERE kind = 'snapshot'),
last AS (SELECT MAX(id) AS id FROM snapshots WHERE job IS NOT NULL GROUP BY job),
dated AS (SELECT outbox.id, COALESCE(at, 0) AS at, LENGTH(CAST(body AS BLOB)) AS size, last.id IS NOT NULL AS stays
          FROM outbox LEFT JOIN last ON last.id = outbox.id)
"""  # noqa: S608 (of these words alone)
_MESSAGES = f"""{_OF_OUTBOX} SELECT COUNT(*), SUM(size), MIN(at), SUM(at < :limit AND NOT stays),
    MIN(CASE WHEN at >= :limit AND NOT stays THEN at END) FROM dated"""  # noqa: S608
_GOING = f"{_OF_OUTBOX} SELECT id FROM dated WHERE at < :limit AND NOT stays ORDER BY id LIMIT :batch"  # noqa: S608


class _Outbox:
    """What waits for a centre that is not reached. The last snapshot of a job stays, however long that takes."""

    name = "outbox"

    def __init__(self, journal: Journal, days: float) -> None:
        self._journal = journal
        self._days = days

    async def survey(self, now: float) -> Kept:
        what = "messages that wait for the centre"
        return await _of_table(self._journal, self.name, what, _MESSAGES, self._days, now)

    async def remove(self, now: float) -> int:
        values = {"limit": due_before(self._days, now), "batch": BATCH}
        going = await _read(self._journal, lambda c: c.execute(_GOING, values).fetchall())
        if going:
            sql = "DELETE FROM outbox WHERE id = ?"
            await self._journal.write(lambda c: c.executemany(sql, going) and None)
        return len(going)


# -- the file --------------------------------------------------------------------------------------


class _File:
    """Free pages are used again; of more than a few the file is cut down."""

    name = "journal_file"

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def survey(self, now: float) -> Kept:
        pages, free = await _read(self._journal, _pages)
        size = await asyncio.to_thread(_size, self._journal)
        what = f"the journal's file, {100 * free // max(pages, 1)} % of it free"
        return Kept(self.name, what, 1, size, due=0)

    async def remove(self, now: float) -> int:
        def work(connection: sqlite3.Connection) -> int:
            pages, free = _pages(connection)
            size = connection.execute("PRAGMA page_size").fetchone()[0]
            too_many = free * size > _FREE_BYTES and free * _FREE_SHARE > pages
            if not too_many or connection.execute("PRAGMA auto_vacuum").fetchone()[0] != 2:
                return 0
            connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
            return 1

        return await self._journal.write(work)


def _pages(connection: sqlite3.Connection) -> tuple[int, int]:
    pages, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    return pages, free


def _size(journal: Journal) -> int:
    beside = (journal.path.with_name(journal.path.name + end) for end in ("", "-wal", "-shm"))
    return sum(path.stat().st_size for path in beside if path.exists())
