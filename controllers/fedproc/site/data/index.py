"""The index of one dataset, in SQLite at the host: what each file is, its hash, and the version of them all.

It is made in passes, each of which reads what has changed since the one before alone, keeps what it has read when it is
cut, and holds no more in memory than one file and some rows.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fedproc.common.tasks import StopFlag
from fedproc.site.data import consistency
from fedproc.site.data.dicom import Instance
from fedproc.site.data.examining import NO_HASH, UNSETTLED, Examined, examine
from fedproc.site.data.merkle import Leaf, version_of
from fedproc.site.data.walking import OTHER, Entry, Fingerprint, shown, walk

OnProgress = Callable[[int], None]
"""is told how many files were looked at"""

ATTRIBUTES = ("patient", "study", "series", "instance", "sop_class", "modality", "body_part", "manufacturer", "sex",
              "age", "date")  # fmt: skip
_FORMAT = 2
"""an index of another format is made anew"""
_RETRY_SECONDS = 600.0
"""after which what could not be read is tried again: a permission that is given changes no time"""
_BATCH_SECONDS = 1.0
_PROGRESS = 200

_SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    path BLOB PRIMARY KEY, kind TEXT NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL, inode INTEGER NOT NULL,
    sha256 BLOB NOT NULL, read_at REAL NOT NULL, pass INTEGER NOT NULL,
    patient TEXT, study TEXT, series TEXT, instance TEXT, sop_class TEXT, modality TEXT, body_part TEXT,
    manufacturer TEXT, sex TEXT, age REAL, date TEXT
) WITHOUT ROWID;
CREATE INDEX files_series ON files (series) WHERE series IS NOT NULL;
CREATE INDEX files_instance ON files (instance) WHERE instance IS NOT NULL;
CREATE TABLE refers (path BLOB NOT NULL, series TEXT NOT NULL, PRIMARY KEY (path, series)) WITHOUT ROWID;
CREATE TABLE problems (path BLOB NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (path, code))
    WITHOUT ROWID;
{consistency.SCHEMA}
PRAGMA user_version = {_FORMAT};
"""


@dataclass(frozen=True)
class Known:
    """What the last whole pass found. ``images`` counts files that are DICOM; ``oldest`` is when the one was read that
    was read longest ago (since 1970), ``found`` is how many files have each problem, by its code. ``unread`` is when
    the one was tried that could not be read and was tried longest ago; None if all could."""

    version: str
    fingerprint: str
    files: int
    size: int
    images: int
    oldest: float
    found: Mapping[str, int]
    unread: float | None = None

    def is_due(self, older_than: float = 0.0) -> bool:
        """Whether a file was read before ``older_than``, or it is time to try again what could not be read."""
        retry = self.unread is not None and self.unread + _RETRY_SECONDS <= time.time()
        return retry or self.oldest < older_than


class DatasetIndex:
    """The index in the file ``path``. Its methods block; one process makes a pass at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def known(self) -> Known | None:
        """What the last whole pass found; None before the first one, or where the index cannot be read."""
        if not self.path.exists():
            return None
        try:
            with self.readonly() as db:
                return _known(dict(db.execute("SELECT key, value FROM meta")))
        except (sqlite3.Error, KeyError, ValueError):
            return None

    @contextmanager
    def readonly(self) -> Iterator[sqlite3.Connection]:
        """A connection that changes nothing, and sees one state throughout."""
        with closing(sqlite3.connect(f"file:{quote(str(self.path))}?mode=ro", uri=True, timeout=30)) as db:
            _check_format(db.execute("PRAGMA user_version").fetchone()[0])
            db.execute("BEGIN")
            yield db

    def update(
        self, folder: Path, flag: StopFlag, on_progress: OnProgress = lambda _: None, *, older_than: float = 0.0
    ) -> Known:
        """Look at everything in the folder; read what has changed, or was read before ``older_than`` (since 1970).

        Raises OSError where folder, disk or share fail, sqlite3.Error where the index cannot be written, StoppedError.
        """
        with self.opened() as db:
            made = _Pass(db, folder, flag, on_progress, older_than)
            fingerprint = made.run()
            return conclude(db, fingerprint, made.number)

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """A connection of the one who makes a pass.

        An index that is damaged, or of another release, is only a cache: it is made anew."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            db = _opened(self.path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise
            self.remove()
            db = _opened(self.path)
        with closing(db):
            yield db

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """Path (as it is shown), code and text of each, in the order of the paths."""
        with self.readonly() as db:
            sql = "SELECT path, code, text FROM problems UNION ALL SELECT path, code, text FROM across ORDER BY 1, 2"
            for path, code, text in db.execute(sql):
                yield shown(path), code, text

    def remove(self) -> None:
        """Take it away; it is made again when it is needed."""
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + ending).unlink()


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        found = db.execute("PRAGMA user_version").fetchone()[0]
        _check_format(found)
        if found == 0:
            db.executescript("BEGIN EXCLUSIVE;" + _SCHEMA + "COMMIT;")
        db.create_function("shown", 1, shown, deterministic=True)
    except BaseException:
        db.close()
        raise
    return db


def _check_format(found: int) -> None:
    if found not in {0, _FORMAT}:
        raise sqlite3.DatabaseError("the index is of another release")


_UNREAD = f"(kind <> '{OTHER}' AND sha256 = X'{NO_HASH.hex()}')"


class _Pass:
    """One look at all files."""

    def __init__(
        self, db: sqlite3.Connection, folder: Path, flag: StopFlag, on_progress: OnProgress, older_than: float
    ) -> None:
        self._db = db
        self._folder = folder
        self._flag = flag
        self._on_progress = on_progress
        self._older_than = older_than
        self._retried = max(older_than, time.time() - _RETRY_SECONDS)
        self.number = next_pass(db)

    def run(self) -> str:
        """Bring the rows up to date; the fingerprint of what they say."""
        fingerprint, looked_at = Fingerprint(), 0
        self._db.execute("BEGIN IMMEDIATE")
        written = time.monotonic()
        try:
            for entry in walk(self._folder, self._flag):
                if (standing := self._look(entry)) is not None:
                    fingerprint.add(standing)
                looked_at += 1
                if looked_at % _PROGRESS == 0:
                    self._on_progress(looked_at)
                if time.monotonic() - written > _BATCH_SECONDS:
                    self._db.execute("COMMIT")
                    self._db.execute("BEGIN IMMEDIATE")
                    written = time.monotonic()
        finally:
            self._db.execute("COMMIT")
        self._on_progress(looked_at)
        return fingerprint.folder_state().fingerprint

    def _look(self, entry: Entry) -> Entry | None:
        """The entry as it stands in the index from now on; None if it has gone."""
        row = self._db.execute(
            f"SELECT kind, size, mtime, inode, {_UNREAD}, read_at FROM files WHERE path = ?",  # noqa: S608
            (entry.path,),
        ).fetchone()
        if row is not None and row[:4] == entry[1:] and row[5] >= (self._retried if row[4] else self._older_than):
            self._db.execute("UPDATE files SET pass = ? WHERE path = ?", (self.number, entry.path))
            return entry
        self._flag.check()
        found = examine(self._folder, entry, self._flag)
        if found is None:
            return None
        keep(self._db, found, self.number)
        return found.entry


def next_pass(db: sqlite3.Connection) -> int:
    """The number of a pass that begins, taken for good: what one marked that was cut is not what the next one met."""
    number = 1 + int(_meta(db, "pass") or 0)
    db.execute("INSERT OR REPLACE INTO meta VALUES ('pass', ?)", (str(number),))
    return number


def keep(db: sqlite3.Connection, found: Examined, number: int) -> None:
    """Have the index say of a file what the pass ``number`` found."""
    path, instance = found.entry.path, found.instance or Instance()
    values = (*found.entry, found.sha256, time.time(), number, *astuple(instance)[: len(ATTRIBUTES)])
    places = ", ".join("?" * len(values))
    db.execute(f"INSERT OR REPLACE INTO files VALUES ({places})", values)  # noqa: S608 (places alone)
    db.execute("DELETE FROM refers WHERE path = ?", (path,))
    db.execute("DELETE FROM problems WHERE path = ?", (path,))
    db.executemany("INSERT INTO refers VALUES (?, ?)", [(path, series) for series in instance.refers])
    db.executemany("INSERT OR IGNORE INTO problems VALUES (?, ?, ?)", [(path, *one) for one in found.problems])


def conclude(db: sqlite3.Connection, fingerprint: str, number: int) -> Known:
    """Forget what was not met, look across all files, and write what the whole is: in one step."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("DELETE FROM files WHERE pass <> ?", (number,))
        for table in ("refers", "problems"):
            db.execute(f"DELETE FROM {table} WHERE path NOT IN (SELECT path FROM files)")  # noqa: S608
        consistency.look_across(db)
        known = _summed(db, fingerprint)
        values = {**known.__dict__, "found": json.dumps(known.found), "unread": json.dumps(known.unread)}
        db.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", [(key, str(value)) for key, value in values.items()]
        )
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    return known


def _summed(db: sqlite3.Connection, fingerprint: str) -> Known:
    leaves = (Leaf(*row) for row in db.execute("SELECT path, kind, size, sha256 FROM files ORDER BY path"))
    version = version_of(leaves)
    files, size, images, oldest = db.execute(
        "SELECT COUNT(*), COALESCE(SUM(size), 0), COUNT(instance), MIN(read_at) FROM files WHERE kind = 'file'"
    ).fetchone()
    sql = "SELECT code, COUNT(*) FROM (SELECT code FROM problems UNION ALL SELECT code FROM across) GROUP BY code"
    found = dict(db.execute(sql).fetchall())
    unread = db.execute(f"SELECT MIN(read_at) FROM files WHERE {_UNREAD}").fetchone()[0]  # noqa: S608
    return Known(version, fingerprint, files, size, images, time.time() if oldest is None else oldest, found, unread)


def _known(meta: Mapping[str, str]) -> Known:
    read: dict[str, Any] = {name: json.loads(meta[name]) for name in _NUMBERS}
    return Known(meta["version"], meta["fingerprint"], **read)


_NUMBERS = ("files", "size", "images", "oldest", "found", "unread")


def _meta(db: sqlite3.Connection, key: str) -> Any:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


__all__ = ["ATTRIBUTES", "UNSETTLED", "DatasetIndex", "Known", "OnProgress"]
