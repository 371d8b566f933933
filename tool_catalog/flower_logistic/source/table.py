"""A dataset folder with a table to train on and one held out, both described by ``dataset.json``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from faults import Fault
from model import Array
from request import read_json


@dataclass(frozen=True)
class Part:
    """Rows of one table: features (rows by columns) and labels (0 or 1)."""

    features: Array
    labels: Array


@dataclass(frozen=True)
class SiteData:
    """What one site trains on and what it holds out; ``names`` are the features in their order."""

    names: tuple[str, ...]
    train: Part
    test: Part


def read_site(folder: Path, target: str) -> SiteData:
    """Read the one dataset in ``folder``; every numeric column but ``target`` is a feature.

    Raises :class:`Fault` if there is not exactly one, or if its files do not hold what they should.
    """
    dataset = _only_dataset(folder)
    described = read_json(dataset / "dataset.json", "dataset")
    if not isinstance(described, dict) or not isinstance(described.get("columns"), list):
        raise Fault("dataset: dataset.json must have 'columns', a list of {name, type}")
    kinds = {str(c.get("name")): c.get("type") for c in described["columns"] if isinstance(c, dict)}
    if kinds.get(target) != "boolean":
        raise Fault(f"dataset: dataset.json describes no boolean column {target!r}; choose another target")
    names = tuple(name for name, kind in kinds.items() if kind in {"number", "integer"})
    train, test = (_part(dataset / _file(described, table), names, target) for table in ("train", "test"))
    if len(set(train.labels.tolist())) < 2:
        raise Fault(f"dataset: the training rows have only one value of {target!r}: nothing can be learned from them")
    return SiteData(names, train, test)


def _only_dataset(folder: Path) -> Path:
    found = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if len(found) != 1:
        raise Fault(f"datasets: choose one dataset per host; this one was given {', '.join(found) or 'none'}")
    return folder / found[0]


def _file(described: dict[str, Any], table: str) -> str:
    tables = described.get("tables")
    name = tables.get(table) if isinstance(tables, dict) else None
    if not isinstance(name, str) or Path(name).name != name:
        raise Fault(f'dataset: dataset.json must name the {table} table: "tables": {{"{table}": "FILE.csv"}}')
    return name


def _part(path: Path, names: Sequence[str], target: str) -> Part:
    header, rows = _read(path)
    if missing := [name for name in (*names, target) if name not in header]:
        raise Fault(f"dataset: {path.name} has no column {', '.join(missing)}, though dataset.json describes it")
    order = [header.index(name) for name in (*names, target)]
    values = np.array([_numbers(cells, order, path.name, line) for line, cells in rows])
    if bad := next((line for (line, _), label in zip(rows, values[:, -1], strict=True) if label not in (0, 1)), None):
        raise Fault(f"dataset: {path.name}, line {bad}, column {target}: neither 0 nor 1")
    return Part(values[:, :-1], values[:, -1])


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            rows = [(reader.line_num, cells) for cells in reader if cells]
    except OSError as fault:
        raise Fault(f"dataset: cannot read {path.name}: {fault.strerror}") from fault
    except (UnicodeDecodeError, csv.Error) as fault:
        raise Fault(f"dataset: {path.name} is not a CSV table in UTF-8") from fault
    if not rows:
        raise Fault(f"dataset: {path.name} has no rows")
    return header, rows


def _numbers(cells: Sequence[str], order: Sequence[int], file: str, line: int) -> list[float]:
    try:
        numbers = [float(cells[index]) for index in order]
    except (ValueError, IndexError):
        raise Fault(f"dataset: {file}, line {line}: a cell is missing or not a number") from None
    if not np.isfinite(numbers).all():
        raise Fault(f"dataset: {file}, line {line}: a number is not finite")
    return numbers
