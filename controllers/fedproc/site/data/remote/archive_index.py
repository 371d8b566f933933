"""The index of a dataset that lies in a PACS: made of what the PACS says of its series, before a byte of them has come.

A series is asked about again when the query's answer on it is another one, or after as many days as all bytes of a
folder are read again. A dataset's version follows from the UIDs and from all that the PACS says of its instances; and
from the bytes of those that came twice and were not the same.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from fedproc.common.tasks import StopFlag
from fedproc.site.data.examining import Examined
from fedproc.site.data.index import DatasetIndex, Known, conclude, keep, next_pass
from fedproc.site.data.remote.dicom_json import examined, hash_of, unreadable
from fedproc.site.data.remote.dicomweb import DicomWeb, ListedSeries
from fedproc.site.data.remote.errors import RemoteError, RemotePassingError
from fedproc.site.dataset_settings import DatasetSettings

_BROKEN = 500
"""a PACS answers so for a series of which it cannot read a file: the others are asked about"""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS listed (
    series TEXT PRIMARY KEY, said BLOB NOT NULL, read_at REAL NOT NULL, pass INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fetched (
    path BLOB PRIMARY KEY, sha256 BLOB NOT NULL, changed INTEGER NOT NULL
) WITHOUT ROWID;
"""


def before(days: float) -> float:
    """The moment (since 1970) before which what was asked is asked again; 0 days: never."""
    return time.time() - days * 86_400 if days else 0.0


class Fetched(NamedTuple):
    """A file that has come: its path in the dataset, and the sha256 of its bytes."""

    path: bytes
    sha256: bytes


def update(
    index: DatasetIndex, web: DicomWeb, entry: DatasetSettings, flag: StopFlag, on_progress: Callable[[int], None],
    *, older_than: float = 0.0,
) -> Known:  # fmt: skip
    """Ask what there is. Raises :class:`RemoteError`, sqlite3.Error, OSError, StoppedError."""
    with index.opened() as db:
        db.executescript(_SCHEMA)
        made, fingerprint = _Pass(db, web, older_than), hashlib.sha256()
        for count, listed in enumerate(web.series(entry), 1):
            flag.check()
            fingerprint.update(listed.series.encode() + hash_of(listed.attributes))
            made.bring_up(listed)
            on_progress(count)
        db.execute("DELETE FROM listed WHERE pass <> ?", (made.number,))
        return conclude(db, fingerprint.hexdigest(), made.number)


class _Pass:
    def __init__(self, db: sqlite3.Connection, web: DicomWeb, older_than: float) -> None:
        self._db = db
        self._web = web
        self._older_than = older_than
        self.number = next_pass(db)

    def bring_up(self, listed: ListedSeries) -> None:
        """Bring the rows of one series up to date, in one step."""
        stated = hash_of(listed.attributes)
        row = self._db.execute("SELECT said, read_at FROM listed WHERE series = ?", (listed.series,)).fetchone()
        if row is not None and row[0] == stated and row[1] > self._older_than:
            found = None
        else:
            found, readable = self._asked(listed)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if found is None:
                self._stays(listed)
            else:
                self._replace(listed, stated, found, time.time() if readable else 0.0)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _asked(self, listed: ListedSeries) -> tuple[list[Examined], bool]:
        """What it is; of one that the PACS cannot describe it is asked each time."""
        try:
            return [examined(listed, elements) for elements in self._web.metadata(listed)], True
        except RemoteError as error:
            if isinstance(error, RemotePassingError) and error.status != _BROKEN:
                raise
            return [unreadable(listed, str(error))], False

    def _stays(self, listed: ListedSeries) -> None:
        self._db.execute("UPDATE listed SET pass = ? WHERE series = ?", (self.number, listed.series))
        self._db.execute(f"UPDATE files SET pass = ? WHERE {_OF_SERIES}", (self.number, *_of(listed)))  # noqa: S608

    def _replace(self, listed: ListedSeries, stated: bytes, found: Iterable[Examined], read_at: float) -> None:
        self._db.execute(f"DELETE FROM files WHERE {_OF_SERIES}", _of(listed))  # noqa: S608
        for one in found:
            one.sha256 = self._with_bytes(one)
            keep(self._db, one, self.number)
        row = (listed.series, stated, read_at, self.number)
        self._db.execute("INSERT OR REPLACE INTO listed VALUES (?, ?, ?, ?)", row)

    def _with_bytes(self, one: Examined) -> bytes:
        row = self._db.execute(
            "SELECT sha256 FROM fetched WHERE path = ? AND changed", (one.entry.path,)
        ).fetchone()  # fmt: skip
        return one.sha256 if row is None else _changed(one.sha256, row[0])


def note_fetched(index: DatasetIndex, series: str, files: Iterable[Fetched]) -> bool:
    """Keep what has come of a series; whether some of it had other bytes when it came before: the next look at the
    dataset finds another version then."""
    with index.opened() as db:
        db.executescript(_SCHEMA)
        db.execute("BEGIN IMMEDIATE")
        others = [file for file in files if _is_other(db, file)]
        for file in others:
            db.execute("UPDATE fetched SET sha256 = ?, changed = 1 WHERE path = ?", (file.sha256, file.path))
        if others:
            db.execute("UPDATE listed SET read_at = 0 WHERE series = ?", (series,))
        db.execute("COMMIT")
        return bool(others)


def _is_other(db: sqlite3.Connection, file: Fetched) -> bool:
    row = db.execute("SELECT sha256 FROM fetched WHERE path = ?", (file.path,)).fetchone()
    if row is None:
        db.execute("INSERT INTO fetched VALUES (?, ?, 0)", (file.path, file.sha256))
    return row is not None and row[0] != file.sha256


def _changed(stated: bytes, sha256: bytes) -> bytes:
    return hashlib.sha256(stated + sha256).digest()


_OF_SERIES = "(path = ? OR (path >= ? AND path < ?))"


def _of(listed: ListedSeries) -> tuple[bytes, bytes, bytes]:
    """Values for :data:`_OF_SERIES`; the byte after the slash is the zero."""
    prefix = f"{listed.study}/{listed.series}".encode()
    return prefix, prefix + b"/", prefix + b"0"
