"""The ledger of one host. Its methods block; each is one transaction, which is on the disk when the method returns."""

from __future__ import annotations

import hmac
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from fedproc.site.policy.ledger.claims import Answered, Claim, Cohort, Doubt, Terms
from fedproc.site.policy.ledger.comparing import Sets, doubt_of
from fedproc.site.policy.ledger.file import FILE, LedgerError, is_begun, opened

MOST_SETS = 50_000
"""different cohorts: some 100 MB where each has 10,000 persons"""
_HASH_BYTES = 16
_AT_ONCE = 500
"""variables of one statement"""
_LEVEL = 1

Clock = Callable[[], float]


class Ledger:
    """Kept in ``folder``, and opened with the first question. Methods raise :class:`LedgerError`."""

    def __init__(self, folder: Path, clock: Clock = time.time, most_sets: int = MOST_SETS) -> None:
        self.folder = folder
        self._clock = clock
        self._most_sets = most_sets
        self._lock = threading.Lock()
        self._opened: tuple[sqlite3.Connection, bytes] | None = None

    def check(self, claim: Claim, terms: Terms) -> Answered:
        """What is against it. Nothing is noted."""
        with self._transaction(undo=True) as db:
            return self._against(db, claim, self._sets(db, claim), terms)

    def reserve(self, claim: Claim, terms: Terms) -> Answered:
        """The same; if nothing is against it, it is noted as released, before any other claim is looked at."""
        with self._transaction() as db:
            sets = self._sets(db, claim)
            found = self._against(db, claim, sets, terms)
            if not found.doubts:
                self._note(db, claim, sets)
            return found

    def note(self, claim: Claim) -> None:
        """A person lets it go, whatever is against it. The same claim once more changes nothing."""
        with self._transaction() as db:
            self._note(db, claim, self._sets(db, claim))

    def spent(self, window: float) -> list[tuple[str, str, int]]:
        """Scope, dataset and files that were released within the last ``window`` seconds, most first."""
        if not is_begun(self.folder):
            return []
        with self._transaction() as db:
            return list(db.execute(_SPENT, (self._clock() - window,)))

    def forget(self, before: float, most: int) -> int:
        """Remove up to ``most`` releases that are older than this (seconds since 1970); how many that were."""
        if not is_begun(self.folder):
            return 0
        with self._transaction() as db:
            found = [row[0] for row in db.execute("SELECT id FROM releases WHERE at < ? LIMIT ?", (before, most))]
            if not found:
                return 0
            db.executemany("DELETE FROM releases WHERE id = ?", [(each,) for each in found])
            db.execute("DELETE FROM sets WHERE id NOT IN (SELECT members FROM cohorts WHERE members IS NOT NULL)")
            db.execute(_UNUSED_PERSONS)
            return len(found)

    def kept(self) -> tuple[int, float | None, int]:
        """How many releases there are, when the oldest was, and bytes of the file."""
        if not is_begun(self.folder):
            return 0, None, 0
        with self._transaction() as db:
            count, oldest = db.execute("SELECT COUNT(*), MIN(at) FROM releases").fetchone()
        return count, oldest, (self.folder / FILE).stat().st_size

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened[0].close()
            self._opened = None

    @contextmanager
    def _transaction(self, *, undo: bool = False) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._opened is not None and not (self.folder / FILE).exists():
                self._opened[0].close()  # what is written to a file that was removed is lost
                self._opened = None
            if self._opened is None:
                self._opened = opened(self.folder)
            db = self._opened[0]
            try:
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                except BaseException:
                    with suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                    raise
                db.execute("ROLLBACK" if undo else "COMMIT")
            except sqlite3.Error as error:
                with suppress(sqlite3.Error):
                    db.close()
                self._opened = None
                raise LedgerError(f"the ledger in {self.folder} cannot be used: {error}") from error

    # -- sets of persons -------------------------------------------------------------------------

    def _sets(self, db: sqlite3.Connection, claim: Claim) -> dict[str, Sets]:
        found = {}
        for cohort in claim.cohorts:
            by = {way: self._members(db, cohort.dataset, way, ids) for way, ids in cohort.persons.items()}
            found[cohort.dataset] = Sets(cohort.version, by)
        return found

    def _members(self, db: sqlite3.Connection, dataset: str, way: str, ids: frozenset[str]) -> int:
        """A bit for each person; who is not known yet gets the next number."""
        hashes = self._hashes(dataset, way, ids)
        known = _numbers(db, dataset, way, hashes)
        query = "SELECT COALESCE(MAX(number), -1) FROM persons WHERE dataset = ? AND way = ?"
        first = 1 + db.execute(query, (dataset, way)).fetchone()[0]
        new = {each: first + place for place, each in enumerate(h for h in hashes if h not in known)}
        rows = [(dataset, way, each, number) for each, number in new.items()]
        db.executemany("INSERT INTO persons VALUES (?, ?, ?, ?)", rows)
        bits = bytearray((first + len(new)) // 8 + 1)
        for number in (*known.values(), *new.values()):
            bits[number >> 3] |= 1 << (number & 7)
        return int.from_bytes(bits, "little")

    def _hashes(self, dataset: str, way: str, ids: frozenset[str]) -> list[bytes]:
        assert self._opened is not None
        key, place = self._opened[1], f"{dataset}\0{way}\0".encode()
        texts = (place + each.encode("utf-8", "surrogatepass") for each in ids)
        return sorted(hmac.digest(key, text, "sha256")[:_HASH_BYTES] for text in texts)

    # -- what is against a claim -----------------------------------------------------------------

    def _against(self, db: sqlite3.Connection, claim: Claim, sets: Mapping[str, Sets], terms: Terms) -> Answered:
        changed = _answered_otherwise(db, claim)
        doubts = {Doubt.repeat} if changed else set()
        if terms.compares:
            doubts |= {doubt for old in _earlier(db, claim) if (doubt := _differ(sets, old, terms.floor)) is not None}
        if self._is_spent(db, claim, terms):
            doubts.add(Doubt.budget)
        if self._is_full(db, sets):
            doubts.add(Doubt.full)
        return Answered(frozenset(doubts), frozenset(file.partition("/")[0] for file in changed))

    def _is_spent(self, db: sqlite3.Connection, claim: Claim, terms: Terms) -> bool:
        since = self._clock() - terms.window
        for scope in claim.scopes:
            new = len(_that_cost(db, claim, scope))
            for cohort in claim.cohorts if new else ():
                spent = db.execute(_SPENT_OF, (since, scope, cohort.dataset, claim.job)).fetchone()[0]
                if spent + new > terms.budget:
                    return True
        return False

    def _is_full(self, db: sqlite3.Connection, sets: Mapping[str, Sets]) -> bool:
        new = [members for each in sets.values() for members in each.by.values() if _set_of(db, members) is None]
        return bool(new) and db.execute("SELECT COUNT(*) FROM sets").fetchone()[0] + len(new) > self._most_sets

    # -- noting ----------------------------------------------------------------------------------

    def _note(self, db: sqlite3.Connection, claim: Claim, sets: Mapping[str, Sets]) -> None:
        now = self._clock()
        db.execute("INSERT OR IGNORE INTO releases (job, at) VALUES (?, ?)", (claim.job, now))
        release = db.execute("SELECT id FROM releases WHERE job = ?", (claim.job,)).fetchone()[0]
        costs = {file for scope in claim.scopes for file in _that_cost(db, claim, scope)}
        db.executemany("INSERT OR IGNORE INTO scopes VALUES (?, ?)", [(each, release) for each in claim.scopes])
        for dataset, found in sets.items():
            ways: dict[str, int | None] = {way: self._kept_set(db, members) for way, members in found.by.items()}
            ways = ways or {"": None}
            rows = [(release, dataset, found.version, way, members) for way, members in ways.items()]
            db.executemany("INSERT OR REPLACE INTO cohorts VALUES (?, ?, ?, ?, ?)", rows)
        question = bytes.fromhex(claim.question)
        answers = [
            (release, question, file, bytes.fromhex(digest), now, file in costs) for file, digest in claim.files.items()
        ]
        db.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", answers)

    def _kept_set(self, db: sqlite3.Connection, members: int) -> int:
        if (known := _set_of(db, members)) is not None:
            return known
        values = (_digest(members), zlib.compress(_bytes(members), _LEVEL))
        return int(db.execute("INSERT INTO sets (digest, members) VALUES (?, ?)", values).lastrowid or 0)


_SPENT = """
SELECT s.scope, c.dataset, COUNT(DISTINCT a.release || '/' || a.file) AS files
FROM answers a JOIN scopes s ON s.release = a.release
JOIN (SELECT DISTINCT release, dataset FROM cohorts) c ON c.release = a.release
WHERE a.costs AND a.at >= ? GROUP BY s.scope, c.dataset ORDER BY files DESC"""
_SPENT_OF = """
SELECT COUNT(*) FROM answers a JOIN scopes s ON s.release = a.release
WHERE a.costs AND a.at >= ? AND s.scope = ?
AND EXISTS (SELECT 1 FROM cohorts c WHERE c.release = a.release AND c.dataset = ?)
AND a.release NOT IN (SELECT id FROM releases WHERE job = ?)"""
_EARLIER = """
SELECT c.release, c.dataset, c.version, c.way, c.members FROM cohorts c WHERE c.release IN (
    SELECT s.release FROM scopes s JOIN releases r ON r.id = s.release WHERE r.job <> ? AND s.scope IN ({scopes})
    AND s.release IN (SELECT release FROM cohorts WHERE dataset IN ({datasets})))"""
_UNUSED_PERSONS = """
DELETE FROM persons WHERE (dataset, way) IN (
    SELECT DISTINCT dataset, way FROM persons EXCEPT SELECT dataset, way FROM cohorts)"""


def _numbers(db: sqlite3.Connection, dataset: str, way: str, hashes: Sequence[bytes]) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for start in range(0, len(hashes), _AT_ONCE):
        part = hashes[start : start + _AT_ONCE]
        query = f"SELECT hash, number FROM persons WHERE dataset = ? AND way = ? AND hash IN ({_places(part)})"  # noqa: S608
        found |= dict(db.execute(query, (dataset, way, *part)))
    return found


def _places(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _earlier(db: sqlite3.Connection, claim: Claim) -> Iterator[Mapping[str, Sets]]:
    """The cohorts of each earlier release to the same people of one of these datasets, every combination once."""
    datasets = [cohort.dataset for cohort in claim.cohorts]
    query = _EARLIER.format(scopes=_places(claim.scopes), datasets=_places(datasets))
    releases: dict[int, set[tuple[str, str, str, int | None]]] = {}
    for release, *cohort in db.execute(query, (claim.job, *claim.scopes, *datasets)):
        releases.setdefault(release, set()).add(tuple(cohort))
    members: dict[int, int] = {}
    for cohorts in set(map(frozenset, releases.values())):
        found: dict[str, tuple[str, dict[str, int]]] = {}
        for dataset, version, way, number in cohorts:
            by = found.setdefault(dataset, (version, {}))[1]
            if number is not None:
                by[way] = members.get(number) or members.setdefault(number, _members_of(db, number))
        yield {dataset: Sets(version, by) for dataset, (version, by) in found.items()}


def _members_of(db: sqlite3.Connection, number: int) -> int:
    (packed,) = db.execute("SELECT members FROM sets WHERE id = ?", (number,)).fetchone()
    return int.from_bytes(zlib.decompress(packed), "little")


def _differ(new: Mapping[str, Sets], old: Mapping[str, Sets], floor: int) -> Doubt | None:
    doubts = {doubt_of(new.get(dataset), old.get(dataset), floor) for dataset in {*new, *old}}
    return next((doubt for doubt in (Doubt.difference, Doubt.unknown) if doubt in doubts), None)


def _answered_otherwise(db: sqlite3.Connection, claim: Claim) -> set[str]:
    query = "SELECT file, sha256 FROM answers WHERE question = ?"
    known: dict[str, set[str]] = {}
    for file, digest in db.execute(query, (bytes.fromhex(claim.question),)):
        known.setdefault(file, set()).add(digest.hex())
    return {file for file, digest in claim.files.items() if file in known and digest not in known[file]}


def _that_cost(db: sqlite3.Connection, claim: Claim, scope: str) -> set[str]:
    """Files that were not given to these people before in answer to the same question."""
    query = """SELECT a.file, a.sha256 FROM answers a JOIN scopes s ON s.release = a.release
    JOIN releases r ON r.id = a.release WHERE a.question = ? AND s.scope = ? AND r.job <> ?"""
    known = set(db.execute(query, (bytes.fromhex(claim.question), scope, claim.job)))
    return {file for file, digest in claim.files.items() if (file, bytes.fromhex(digest)) not in known}


def _set_of(db: sqlite3.Connection, members: int) -> int | None:
    row = db.execute("SELECT id FROM sets WHERE digest = ?", (_digest(members),)).fetchone()
    return None if row is None else int(row[0])


def _bytes(members: int) -> bytes:
    return members.to_bytes((members.bit_length() + 7) // 8, "little")


def _digest(members: int) -> bytes:
    return sha256(_bytes(members)).digest()


__all__ = ["Answered", "Claim", "Cohort", "Ledger", "LedgerError", "Terms"]
