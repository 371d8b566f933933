"""Which files of a dataset a selection comes to, frozen for one job: what is added later does not join it.

A cohort is kept as lines of JSON in a file of its own: what it is, then one line a file.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fedproc.common.files import replacing
from fedproc.common.tasks import StopFlag
from fedproc.contract.wire.selection import LISTS, RANGES, Selection
from fedproc.site.data.consistency import PERSON
from fedproc.site.data.merkle import Leaf, version_of
from fedproc.site.data.persons import Persons, of_images
from fedproc.site.data.persons import keep as keep_persons

_DESCRIPTION = b"dataset.json"
_PIECE = 1000
_NEAR = 4096
"""bytes that are read one line after the other"""
_IDS = frozenset({"patient", "study", "series"})


class CohortFile(NamedTuple):
    """One file of a cohort, as it stood when the cohort was frozen."""

    path: bytes
    size: int
    mtime: int
    inode: int
    sha256: bytes


@dataclass(frozen=True)
class Cohort:
    """A frozen selection of a dataset. ``version`` is that of its files alone (:mod:`fedproc.site.data.merkle`).

    ``persons`` are those who are in it, ``others`` those who are not.
    """

    dataset: str
    dataset_version: str
    version: str
    files: int
    size: int
    persons: int
    others: int


def choose(
    db: sqlite3.Connection,
    dataset: str,
    dataset_version: str,
    selection: Selection | None,
    target: Path,
    flag: StopFlag,
) -> Cohort:
    """Find the cohort in an index, and keep it in ``target``, whole or not at all; without a selection all files.

    Raises StoppedError.
    """
    where, values = _conditions(selection) if selection is not None else ("TRUE", [])
    db.execute(f"CREATE TEMP TABLE chosen AS SELECT series, patient FROM series WHERE {where}", values)  # noqa: S608
    persons, everybody = (db.execute(_PERSONS.format(table=name)).fetchone()[0] for name in ("chosen", "series"))
    whose = Persons(of_images(db, "chosen"))
    if selection is not None and selection.segmentations:
        db.execute(_SEGMENTATIONS)
    files, size, version = _summed(_chosen(db, selection, flag))
    cohort = Cohort(dataset, dataset_version, version, files, size, persons, everybody - persons)
    keep_persons(persons_of(target), whose)
    keep_cohort(target, cohort, _chosen(db, selection, flag))  # twice, as a million rows are too many to hold
    return cohort


def _chosen(db: sqlite3.Connection, selection: Selection | None, flag: StopFlag) -> Iterator[CohortFile]:
    rows = db.execute(_ALL) if selection is None else db.execute(_FILES, (_DESCRIPTION,))
    for number, row in enumerate(rows):
        if number % _PIECE == 0:
            flag.check()
        yield CohortFile(*row)


def _summed(files: Iterable[CohortFile]) -> tuple[int, int, str]:
    """How many they are, their bytes, and their version; memory stays flat."""
    count = size = 0

    def leaves() -> Iterator[Leaf]:
        nonlocal count, size
        for file in files:
            count, size = count + 1, size + file.size
            yield Leaf(file.path, "file", file.size, file.sha256)

    version = version_of(leaves())
    return count, size, version


_PERSONS = f"SELECT COUNT(DISTINCT {PERSON}) FROM {{table}}"  # noqa: S608 (an expression of ours)
_SEGMENTATIONS = """
INSERT INTO chosen SELECT DISTINCT f.series, f.patient FROM refers r JOIN files f ON f.path = r.path
WHERE r.series IN (SELECT series FROM chosen) AND f.series NOT IN (SELECT series FROM chosen)"""
_FILES = """
SELECT path, size, mtime, inode, sha256 FROM files
WHERE kind = 'file' AND (series IN (SELECT series FROM chosen) OR path = ?) ORDER BY path"""

_ALL = "SELECT path, size, mtime, inode, sha256 FROM files WHERE kind = 'file' ORDER BY path"


def _conditions(selection: Selection) -> tuple[str, list[Any]]:
    """SQL over the table of series, with its values; names of columns are ours, values never stand in the text."""
    parts, values = [], list[Any]()
    for name in LISTS:
        if given := getattr(selection, name):
            column = name if name in _IDS else f"{name} COLLATE NOCASE"
            parts.append(f"{column} IN (SELECT value FROM json_each(?))")  # noqa: S608 (a column of ours)
            values.append(json.dumps(list(given)))
    for name in RANGES:
        for end, comparison in (("from", ">="), ("to", "<=")):
            if (limit := getattr(selection, f"{name}_{end}")) is not None:
                parts.append(f"{name} {comparison} ?")
                values.append(limit if name == "age" else limit.isoformat())
    return " AND ".join(parts), values


def keep_cohort(target: Path, cohort: Cohort, files: Iterable[CohortFile]) -> None:
    """Write it, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with replacing(target) as partial, partial.open("w") as lines:
        lines.write(json.dumps(asdict(cohort)) + "\n")
        for file in files:
            lines.write(json.dumps([os.fsdecode(file.path), *file[1:4], file.sha256.hex()]) + "\n")
        lines.flush()
        os.fsync(lines.fileno())


def persons_of(target: Path) -> Path:
    """Where it is kept whose images a cohort's are."""
    return target.with_suffix(".persons.json")


def read_cohort(source: Path) -> Cohort:
    """Raises FileNotFoundError where none was frozen."""
    with source.open() as lines:
        return Cohort(**json.loads(lines.readline()))


def files_of(source: Path) -> Iterator[CohortFile]:
    """The files of a kept cohort, in the order of their paths."""
    with source.open("rb") as lines:
        lines.readline()
        for line in lines:
            yield _file_of(line)


def files_after(source: Path, path: bytes | None) -> Iterator[CohortFile]:
    """The files whose paths lie behind ``path``, all without one; what is before it is not read."""
    with source.open("rb") as lines:
        lines.readline()
        if path is not None:
            _seek(lines, path)
        for line in lines:
            file = _file_of(line)
            if path is None or file.path > path:
                yield file


def find_file(source: Path, path: bytes) -> CohortFile | None:
    """One file of a kept cohort, found without reading the others."""
    with source.open("rb") as lines:
        lines.readline()
        _seek(lines, path)
        for line in lines:
            file = _file_of(line)
            if file.path >= path:
                return file if file.path == path else None
    return None


def _seek(lines: BinaryIO, path: bytes) -> None:
    """Go to the beginning of a line near which the files of that path and behind it begin, and none of them before."""
    low, high = lines.tell(), lines.seek(0, os.SEEK_END)
    first = low
    while high - low > _NEAR:
        middle = (low + high) // 2
        lines.seek(middle)
        lines.readline()
        line = lines.readline()
        if line and _file_of(line).path < path:
            low = middle
        else:
            high = middle
    lines.seek(low)
    if low != first:
        lines.readline()


def _file_of(line: bytes) -> CohortFile:
    path, size, mtime, inode, digest = json.loads(line)
    return CohortFile(os.fsencode(path), size, mtime, inode, bytes.fromhex(digest))
