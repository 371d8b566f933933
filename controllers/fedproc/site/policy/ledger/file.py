"""The ledger's file: its tables, and the key under which persons are hashed in it."""

from __future__ import annotations

import hmac
import os
import secrets
import sqlite3
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from fedproc.common.errors import SystemFaultError

FILE, KEY = "ledger.sqlite", "ledger.key"
_NEW_KEY = "ledger.key.part"
_FORMAT = 1
_KEY_BYTES = 32
_SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE persons (
    dataset TEXT NOT NULL, way TEXT NOT NULL, hash BLOB NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (dataset, way, hash)
) WITHOUT ROWID;
CREATE TABLE sets (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, members BLOB NOT NULL);
CREATE TABLE releases (id INTEGER PRIMARY KEY, job TEXT NOT NULL UNIQUE, at REAL NOT NULL);
CREATE INDEX releases_at ON releases (at);
CREATE TABLE scopes (
    scope TEXT NOT NULL, release INTEGER NOT NULL REFERENCES releases ON DELETE CASCADE, PRIMARY KEY (scope, release)
) WITHOUT ROWID;
CREATE INDEX scopes_release ON scopes (release);
CREATE TABLE cohorts (
    release INTEGER NOT NULL REFERENCES releases ON DELETE CASCADE, dataset TEXT NOT NULL, version TEXT NOT NULL,
    way TEXT NOT NULL, members INTEGER REFERENCES sets, PRIMARY KEY (release, dataset, way)
) WITHOUT ROWID;
CREATE INDEX cohorts_members ON cohorts (members);
CREATE TABLE answers (
    release INTEGER NOT NULL REFERENCES releases ON DELETE CASCADE, question BLOB NOT NULL, file TEXT NOT NULL,
    sha256 BLOB NOT NULL, at REAL NOT NULL, costs INTEGER NOT NULL, PRIMARY KEY (release, file)
) WITHOUT ROWID;
CREATE INDEX answers_question ON answers (question);
PRAGMA user_version = {_FORMAT};
"""


class LedgerError(SystemFaultError):
    """The ledger cannot be read or written: what it has to hold must wait."""

    code = "ledger.unusable"


def opened(folder: Path) -> tuple[sqlite3.Connection, bytes]:
    """The file and its key, made where there are none. Raises :class:`LedgerError`.

    A new key gets its name when the file is whole on the disk: where there is a key, there was a ledger.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key, is_new = _key(folder)
        db = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            _prepare(db, key, folder)
            if is_new:
                (folder / _NEW_KEY).rename(folder / KEY)
                _sync(folder)
        except BaseException:
            db.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"the ledger in {folder} cannot be used: {error}") from error
    return db, key


def _prepare(db: sqlite3.Connection, key: bytes, folder: Path) -> None:
    (folder / FILE).chmod(0o600)
    for setting in ("auto_vacuum = INCREMENTAL", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        db.execute(f"PRAGMA {setting}")
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found not in (0, _FORMAT):
        raise LedgerError(f"the ledger in {folder} is of another release (format {found}); this one writes {_FORMAT}")
    mark = hmac.new(key, b"fedproc ledger", sha256).digest()
    if found == 0:
        key_row = f"INSERT INTO meta VALUES ('key', X'{mark.hex()}');"  # noqa: S608 (hexadecimal digits)
        db.executescript("BEGIN EXCLUSIVE;" + _SCHEMA + key_row + "COMMIT;")
    row = db.execute("SELECT value FROM meta WHERE name = 'key'").fetchone()
    if row is None and db.execute("SELECT 1 FROM releases").fetchone() is None:
        # the release before was killed between the two steps in which it began one
        db.execute("INSERT INTO meta VALUES ('key', ?)", (mark,))
        row = (mark,)
    if row is None or not hmac.compare_digest(row[0], mark):
        raise LedgerError(
            f"{folder / KEY} is not the key of {FILE} beside it, so that nobody in it is found again: put the key back "
            "from a backup, or move both away to begin a new ledger"
        )


def is_begun(folder: Path) -> bool:
    """Whether there is, or was, a ledger."""
    return (folder / FILE).exists() or (folder / KEY).exists()


def _key(folder: Path) -> tuple[bytes, bool]:
    """The key, and whether it is one that has no name yet."""
    path, new, has_file = folder / KEY, folder / _NEW_KEY, (folder / FILE).exists()
    if path.exists() and not has_file:
        raise LedgerError(
            f"{folder / FILE} is gone, and with it what was released here, while {KEY} is there: put it back from a "
            f"backup, or move {path} away, too, to begin a new ledger"
        )
    is_new = not path.exists()
    if is_new and not has_file:
        _make_key(new)
    elif is_new and not new.exists():
        raise LedgerError(
            f"{path} is gone, so that nobody in {FILE} is found again: put it back from a backup, or move {FILE} away, "
            "too, to begin a new ledger"
        )
    key = (new if is_new else path).read_bytes()
    if len(key) != _KEY_BYTES:
        raise LedgerError(f"{path} is no key of a ledger; put it back from a backup")
    return key, is_new


def _make_key(path: Path) -> None:
    """Whole and on the disk before anything is hashed under it."""
    with suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        target.write(secrets.token_bytes(_KEY_BYTES))
        target.flush()
        os.fsync(descriptor)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
