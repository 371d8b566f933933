"""A dataset folder: ``dataset.json`` describes the columns of one CSV table, and every cell is held to it."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import Fault
from jsonfile import read_object

MISSING = frozenset({"", "NA"})
KINDS = frozenset({"number", "integer", "boolean", "category"})
TRUTH = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True)
class Column:
    """What dataset.json says of a column; ``values`` are the categories (of a boolean: 0 and 1)."""

    name: str
    kind: str
    values: tuple[str, ...] = ()

    @property
    def numeric(self) -> bool:
        return self.kind in {"number", "integer"}


def only_dataset(folder: Path) -> Path:
    """The one dataset folder in ``folder``; raises :class:`Fault` if there is none or more than one."""
    found = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if len(found) != 1:
        raise Fault(f"datasets: choose one dataset per host; this one was given {', '.join(found) or 'none'}")
    return folder / found[0]


class Dataset:
    """One opened dataset: its description, and its columns read on demand.

    Every method raises :class:`Fault` where the files do not hold what they should.
    """

    def __init__(self, folder: Path) -> None:
        described = read_object(folder / "dataset.json", "dataset")
        self.id = str(described.get("id", ""))
        self.version = str(described.get("version", ""))
        self._columns = {column.name: column for column in _columns(described.get("columns"))}
        self._file = folder / _table(described.get("tables"))
        (_, self._names), *self._rows = _rows(self._file)
        if not self._rows:
            raise Fault(f"dataset: {self._file.name} has no rows")

    def column(self, name: str) -> Column:
        """The description of a column that the table really has."""
        if name not in self._columns:
            raise Fault(f"dataset: no column {name!r}; dataset.json has {', '.join(sorted(self._columns))}")
        if name not in self._names:
            raise Fault(f"dataset: {self._file.name} has no column {name!r}, though dataset.json describes it")
        return self._columns[name]

    def numbers(self, name: str) -> list[float | None]:
        """A numeric column; None where a value is missing."""
        return [None if text in MISSING else self._number(text, line, name) for line, text in self._cells(name)]

    def categories(self, name: str) -> list[str | None]:
        """A column of declared categories or booleans; None where a value is missing."""
        column = self.column(name)
        return [None if text in MISSING else self._category(text, line, column) for line, text in self._cells(name)]

    def times(self, name: str) -> list[float]:
        """A column of times since the start of observation: none missing, none negative."""
        return [self._time(text, line, name) for line, text in self._cells(name)]

    def truths(self, name: str) -> list[bool]:
        """A boolean column without gaps."""
        return [self._truth(text, line, name) for line, text in self._cells(name)]

    def _cells(self, name: str) -> Iterator[tuple[int, str]]:
        index = self._names.index(self.column(name).name)
        return ((line, cells[index].strip()) for line, cells in self._rows)

    def _number(self, text: str, line: int, name: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise self._wrong(line, name, "not a number") from None
        if not math.isfinite(number):
            raise self._wrong(line, name, "not a finite number; leave the cell empty where the value is missing")
        return number

    def _time(self, text: str, line: int, name: str) -> float:
        if text in MISSING:
            raise self._wrong(line, name, "no time; leave out persons whose time is unknown")
        time = self._number(text, line, name)
        if time < 0:
            raise self._wrong(line, name, "a negative time")
        return time

    def _truth(self, text: str, line: int, name: str) -> bool:
        if text.lower() not in TRUTH:
            raise self._wrong(line, name, "neither 0 nor 1")
        return TRUTH[text.lower()]

    def _category(self, text: str, line: int, column: Column) -> str:
        if column.kind == "boolean":
            return str(int(self._truth(text, line, column.name)))
        if text not in column.values:
            raise self._wrong(line, column.name, "a value that dataset.json does not list")
        return text

    def _wrong(self, line: int, name: str, what: str) -> Fault:
        return Fault(f"dataset: {self._file.name}, line {line}, column {name}: {what}")


def _columns(described: Any) -> Iterator[Column]:
    if not isinstance(described, list) or not described:
        raise Fault("dataset: dataset.json must have 'columns', a list of {name, type, values?}")
    for entry in described:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or entry.get("type") not in KINDS:
            raise Fault(f"dataset: dataset.json: each column needs a name and a type of {', '.join(sorted(KINDS))}")
        values = ["0", "1"] if entry["type"] == "boolean" else entry.get("values", [])
        if entry["type"] == "category" and not (isinstance(values, list) and values):
            raise Fault(f"dataset: dataset.json: category {entry['name']} must list its values")
        yield Column(entry["name"], entry["type"], tuple(map(str, values)))


def _table(tables: Any) -> str:
    name = tables.get("cohort") if isinstance(tables, dict) else None
    if not isinstance(name, str) or Path(name).name != name:
        raise Fault('dataset: dataset.json must name the table: "tables": {"cohort": "FILE.csv"}')
    return name


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from _records(csv.reader(stream, strict=True), path.name)
    except OSError as fault:
        raise Fault(f"dataset: cannot read {path.name}: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise Fault(f"dataset: {path.name} is not UTF-8 text") from fault
    except csv.Error as fault:
        raise Fault(f"dataset: {path.name} is not a CSV table: {fault}") from fault


def _records(reader: Any, file: str) -> Iterator[tuple[int, list[str]]]:
    """The names of the columns first, then the rows, each with the number of its line; blank lines are nothing."""
    names: list[str] = next(reader, [])
    if not names:
        raise Fault(f"dataset: {file} is empty; its first line must name the columns")
    if len(set(names)) < len(names):
        raise Fault(f"dataset: {file}: a column name stands twice in the first line")
    yield 1, names
    for cells in filter(None, reader):
        if len(cells) != len(names):
            raise Fault(f"dataset: {file}, line {reader.line_num}: {len(cells)} cells, but {len(names)} columns")
        yield reader.line_num, cells
