"""The host's journal: what it has taken on, how far it is, and what it still has to tell the centre.

One SQLite file with ``synchronous=FULL``. All access goes through one thread that commits waiting writes
together, so that a burst of jobs costs few disk flushes and the event loop never waits for the disk. A write
that was answered is on the disk.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fedproc.common.errors import SystemFaultError
from fedproc.contract.states import TERMINAL
from fedproc.site.journal_file import connect

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
_Item = tuple[Work[Any], "asyncio.Future[Any]"]
_Answer = tuple["asyncio.Future[Any]", Any, Exception | None]

_THIS = "id IN (CAST(:job AS TEXT), :job)"
"""by the bytes of a job's id, which may be no text here, or no UTF-8"""
_SET_ASIDE = tuple(
    f"{act} FROM jobs WHERE {_THIS}"
    for act in (
        "INSERT OR REPLACE INTO unreadable SELECT id, CAST(doc AS BLOB), :reason, :now",
        "INSERT OR REPLACE INTO endings SELECT id, :now, :until",
        "DELETE",
    )
)
_WAITING_SNAPSHOTS = """
SELECT body FROM outbox WHERE id IN (
    SELECT max(id) FROM outbox WHERE kind = 'snapshot' AND json_valid(body) GROUP BY json_extract(body, '$.job'))"""
UNKNOWN_DEADLINE = 400 * 86400.0
"""seconds for which the id of a job is kept whose last deadline cannot be read"""
_TERMINAL = {state.value for state in TERMINAL}


class JournalError(SystemFaultError):
    """The journal cannot be written or read; the host holds until it can."""

    code = "journal"


@dataclass(frozen=True)
class Outgoing:
    """A message to the centre, not yet confirmed by the broker."""

    id: int
    kind: str
    body: str


class Journal:
    """See the module. Opened by :meth:`open`, ended by :meth:`close`; every method may be awaited anywhere."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.epoch = ""
        self._waiting: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="journal", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._connection: sqlite3.Connection

    async def open(self) -> None:
        """Open or make the journal; a new one gets a new epoch. Raises :class:`JournalError`."""
        self._loop = asyncio.get_running_loop()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = connect(self.path)
            self.epoch = _epoch(self._connection)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"journal {self.path} cannot be opened: {error}; check the disk and its rights"
            ) from error
        self._thread.start()

    async def close(self) -> None:
        """Commit what waits and close."""
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` in the next transaction; returns when that is on the disk. Raises :class:`JournalError`."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.put((work, future))
        return await future

    read = write

    async def accept(self, job: str, doc: dict[str, Any], events: list[tuple[str, str]]) -> dict[str, Any] | None:
        """Take on a job unless it is known already: what is kept of it if it was new, else None.

        That is ``doc``, and as its ``cancel`` the job's tombstone, if it has one.
        """

        def work(connection: sqlite3.Connection) -> dict[str, Any] | None:
            if _is_past(connection, job):
                return None
            tombstone = connection.execute("SELECT doc FROM tombstones WHERE job = ?", (job,)).fetchone()
            kept = doc | {"cancel": _cancel_of(job, tombstone[0])} if tombstone else doc
            values = (job, doc["state"], json.dumps(kept))
            if not connection.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?, 1, ?)", values).rowcount:
                return None
            for table in ("tombstones", "tombstone_times"):
                connection.execute(f"DELETE FROM {table} WHERE job = ?", (job,))  # noqa: S608 (of these two)
            _add_events(connection, events)
            return kept

        return await self.write(work)

    async def save(self, job: str, doc: dict[str, Any], events: list[tuple[str, str]]) -> None:
        """Replace what is known of a job, and put messages to the centre, in one transaction."""
        text, state = json.dumps(doc), doc["state"]
        is_open = state not in _TERMINAL or bool(doc.get("remaining"))

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE jobs SET state = ?, open = ?, doc = ? WHERE id = ?", (state, is_open, text, job))
            if not is_open:
                connection.execute("INSERT OR IGNORE INTO endings VALUES (?, ?, NULL)", (job, time.time()))
            _add_events(connection, events)

        await self.write(work)

    async def emit(self, events: list[tuple[str, str]]) -> None:
        """Put messages to the centre: (kind, JSON body)."""
        await self.write(lambda connection: _add_events(connection, events))

    async def known(self, job: str) -> dict[str, Any] | None:
        """What is known of a job, ended ones included."""
        row = await self.read(lambda c: c.execute("SELECT doc FROM jobs WHERE id = ?", (job,)).fetchone())
        return json.loads(row[0]) if row else None

    async def known_text(self, job: str) -> str | None:
        """The same as the JSON that is kept; it may be unreadable, with what is no UTF-8 as lone surrogates."""
        sql = "SELECT CAST(doc AS TEXT) FROM jobs WHERE id = ?"
        row = await self.read(lambda c: c.execute(sql, (job,)).fetchone())
        return row[0] if row else None

    async def has(self, job: str) -> bool:
        """Whether the job was ever taken on here, as far as a message about it may still come."""
        sql = "SELECT 1 FROM jobs WHERE id = ?"
        return await self.read(lambda c: _is_past(c, job) or c.execute(sql, (job,)).fetchone() is not None)

    async def open_jobs(self) -> list[tuple[str, str]]:
        """Everything that has not ended, and what has and is not cleaned away (``remaining``): ids, and JSON.

        Either may be anything, what is no UTF-8 as lone surrogates; :mod:`fedproc.site.jobs.recovery` reads it.
        """
        sql = "SELECT CAST(id AS TEXT), CAST(doc AS TEXT) FROM jobs WHERE open = 1 ORDER BY id"
        return await self.read(lambda c: c.execute(sql).fetchall())

    async def set_aside(self, job: str, reason: str, events: list[tuple[str, str]]) -> None:
        """Keep a record that cannot be read apart from the jobs; its job never runs here any more."""

        def work(connection: sqlite3.Connection) -> None:
            now = time.time()
            name = job.encode(errors="surrogateescape")
            values = {"reason": reason, "now": now, "until": now + UNKNOWN_DEADLINE, "job": name}
            for statement in _SET_ASIDE:
                connection.execute(statement, values)
            _add_events(connection, events)

        await self.write(work)

    async def unreadable(self) -> list[tuple[str, str, float]]:
        """The records that were set aside: job, reason, and when (seconds since 1970)."""
        sql = "SELECT CAST(job AS TEXT), reason, at FROM unreadable ORDER BY at"
        rows = await self.read(lambda c: c.execute(sql).fetchall())
        return [(job.encode(errors="replace").decode(), reason, at) for job, reason, at in rows]

    async def tombstone(self, job: str, doc: dict[str, Any]) -> None:
        """Leave a tombstone: this job is to be cancelled when it comes."""
        text = json.dumps(doc)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO tombstones VALUES (?, ?)", (job, text))
            connection.execute("INSERT OR IGNORE INTO tombstone_times VALUES (?, ?)", (job, time.time()))

        await self.write(work)

    async def revoke(self, host: str, key: str, revoked: bool, at: float) -> None:
        """Note whether a host's key counts; of several notes about one key the latest (``at``, seconds) stays."""
        sql = (
            "INSERT INTO revocations VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE"
            " SET host = excluded.host, revoked = excluded.revoked, at = excluded.at WHERE excluded.at >= at"
        )
        await self.write(lambda c: c.execute(sql, (key, host, revoked, at)) and None)

    async def revoked_keys(self) -> frozenset[str]:
        """Thumbprints of the keys that count no more."""
        rows = await self.read(lambda c: c.execute("SELECT key FROM revocations WHERE revoked = 1").fetchall())
        return frozenset(row[0] for row in rows)

    async def retention_since(self) -> float:
        """When this host began to note what is used, in seconds since 1970."""

        def work(connection: sqlite3.Connection) -> float:
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('retention', ?)", (str(time.time()),))
            return float(connection.execute("SELECT value FROM meta WHERE key = 'retention'").fetchone()[0])

        return await self.write(work)

    async def outgoing(self, after: int, limit: int = 200) -> list[Outgoing]:
        """Messages to the centre with an id above ``after``, in order."""
        sql = "SELECT id, kind, body FROM outbox WHERE id > ? ORDER BY id LIMIT ?"
        rows = await self.read(lambda c: c.execute(sql, (after, limit)).fetchall())
        return [Outgoing(*row) for row in rows]

    async def waiting_snapshots(self) -> list[str]:
        """The newest snapshot of each job that the broker has not confirmed, as JSON; unreadable ones are left out."""
        return await self.read(lambda c: [row[0] for row in c.execute(_WAITING_SNAPSHOTS).fetchall()])

    async def confirmed(self, ids: list[int]) -> None:
        """The broker has these: forget them."""
        await self.write(lambda c: c.executemany("DELETE FROM outbox WHERE id = ?", [(i,) for i in ids]) and None)

    def _serve(self) -> None:
        while True:
            batch = [self._waiting.get()]
            while batch[-1] is not None and not self._waiting.empty():
                batch.append(self._waiting.get())
            ended = batch[-1] is None
            self._commit([item for item in batch if item is not None])
            if ended:
                return

    def _commit(self, batch: list[_Item]) -> None:
        self._loop.call_soon_threadsafe(_answer, self._answers(batch))

    def _answers(self, batch: list[_Item]) -> list[_Answer]:
        """Of one transaction. One that fails is done again work by work, so that none fails for its neighbour's sake.

        No error ends the thread: nothing of the host would be written any more, and nobody told.
        """
        try:
            return self._transact(batch)
        except Exception as error:  # noqa: BLE001
            with suppress(sqlite3.Error):  # a disk that is broken may refuse that, too
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            if len(batch) > 1:
                return [answer for item in batch for answer in self._answers([item])]
            text = f"journal {self.path} cannot be written: {error}; make room or mend the disk"
            return [(future, None, JournalError(text)) for _, future in batch]

    def _transact(self, batch: list[_Item]) -> list[_Answer]:
        self._connection.execute("BEGIN IMMEDIATE")
        answers: list[_Answer] = [(future, work(self._connection), None) for work, future in batch]
        self._connection.execute("COMMIT")
        return answers


def _epoch(connection: sqlite3.Connection) -> str:
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (uuid.uuid4().hex,))
    return str(connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])


def _is_past(connection: sqlite3.Connection, job: str) -> bool:
    return connection.execute("SELECT 1 FROM endings WHERE job = ?", (job,)).fetchone() is not None


def _cancel_of(job: str, text: str) -> dict[str, Any]:
    """What a tombstone says. That it is there says enough."""
    try:
        text.encode()
        found: Any = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) and found.get("job", job) == job else {"job": job}


def _add_events(connection: sqlite3.Connection, events: list[tuple[str, str]]) -> None:
    now = time.time()
    connection.executemany("INSERT INTO outbox (kind, body, at) VALUES (?, ?, ?)", [(*event, now) for event in events])


def _answer(answers: list[_Answer]) -> None:
    for future, value, error in answers:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)
