"""Who the persons of a dataset are, as far as it tells: what its host compares released results by.

Persons are told apart by the PatientID of images; in tables by the column that ``dataset.json`` names as ``person``, or
else by their rows.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedproc.common.files import replacing
from fedproc.tables.description import FILE, Format, described
from fedproc.tables.files import read_bytes
from fedproc.tables.problems import TableError
from fedproc.tables.records import decoded

IMAGES, COLUMN, ROWS = "images", "column", "rows"
"""by what persons are told apart"""
_MOST_BYTES = 256 << 20
"""of a table that is looked into"""
_MOST_PERSONS = 2_000_000
_PATIENTS = "SELECT DISTINCT COALESCE(patient, '') FROM {table} LIMIT ?"


@dataclass(frozen=True)
class Persons:
    """The ids of persons by the way in which they are told apart; a way that does not tell them is left out."""

    by: Mapping[str, frozenset[str]] = field(default_factory=dict)


def of_images(db: sqlite3.Connection, table: str = "series") -> Mapping[str, frozenset[str]]:
    """The patients of an index's series; nothing where a series does not say whose it is, or where there are none."""
    rows = db.execute(_PATIENTS.format(table=table), (_MOST_PERSONS + 1,))
    found = frozenset(patient for (patient,) in rows)
    return {IMAGES: found} if found and "" not in found and len(found) <= _MOST_PERSONS else {}


def of_tables(folder: Path) -> Mapping[str, frozenset[str]]:
    """The persons of a dataset's described tables; nothing where they cannot be read as it says. Blocks."""
    try:
        given = json.loads(read_bytes(folder / FILE, _MOST_BYTES))
        about = described(given)
        tables = [[*_rows(folder / name, about.format)] for name in dict.fromkeys(about.tables.values())]
        person = given.get("person")
        if person is None:
            return {ROWS: _rows_told_apart(tables)} if tables else {}
        header = next((c.header for c in about.columns.values() if person in (c.name, c.header)), str(person))
        return {COLUMN: frozenset(cell for table in tables for cell in _cells(table, header))}
    except (TableError, OSError, ValueError, LookupError, RecursionError, csv.Error):
        return {}


def _rows(path: Path, form: Format) -> Iterator[list[str]]:
    """The rows with a text in them, the header first, without blanks around their cells."""
    text = decoded(read_bytes(path, _MOST_BYTES), form.encoding, path.name).removeprefix("\ufeff")
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=form.separator):
        if any(cells := [cell.strip() for cell in row]) and not cells[0].startswith("sep="):
            yield cells


def _rows_told_apart(tables: Iterable[Sequence[list[str]]]) -> frozenset[str]:
    """Each row by its cells; of equal ones each counts."""
    counted = Counter("\x1f".join(cells) for rows in tables for cells in rows[1:])
    return frozenset(
        hashlib.sha256(f"{number}\x1f{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        for text, times in counted.items()
        for number in range(times)
    )


def _cells(rows: Sequence[list[str]], header: str) -> Iterator[str]:
    """Raises LookupError where there is no such column, or a row has no value in it: nobody knows whose it is."""
    place = rows[0].index(header.strip()) if header.strip() in rows[0] else -1
    for cells in rows[1:]:
        if place < 0 or place >= len(cells) or not cells[place]:
            raise LookupError(header)
        yield cells[place]


def keep(target: Path, persons: Persons) -> None:
    """Keep them in a file, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with replacing(target) as partial, partial.open("w") as content:
        json.dump({way: sorted(ids) for way, ids in persons.by.items()}, content)
        content.flush()
        os.fsync(content.fileno())


def kept(source: Path) -> Persons | None:
    """Those of a file; None if there is none."""
    try:
        found: dict[str, Any] = json.loads(source.read_text())
    except FileNotFoundError:
        return None
    return Persons({way: frozenset(ids) for way, ids in found.items()})
