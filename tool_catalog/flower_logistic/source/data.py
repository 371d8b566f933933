"""What one site trains on: features and labels, read by the dataset's description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from averaging.faults import Fault
from model import Array
from request import Request
from tables.description import Column
from tables.frame import Dataset

EVERY = 4
"""one row in so many is held out where the dataset has no table for that"""


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


def read_site(folder: Path, request: Request) -> SiteData:
    """Read the one dataset in ``folder``: its tables ``train`` and ``test``, or a part of its only one is held out.

    A category is one feature for each of its values but the first, ``NAME=VALUE``. Raises :class:`Fault`, or
    TableError for a table that is not as its description says.
    """
    dataset = Dataset.only(folder)
    target = dataset.column(request.target)
    if target.type != "boolean":
        raise Fault(f"parameters: target: {target.name} is of type {target.type} here; expected a boolean column")
    columns = _features(dataset, request)
    names = tuple(name for column in columns for name in _names(column))
    if not names:
        raise Fault("parameters: features: none of them varies, by the description")
    train, test = (_part(frame, columns, request.target, file) for frame, file in _frames(dataset, columns, request))
    if request.epsilon is None and len(set(train.labels.tolist())) < 2:
        raise Fault(f"dataset: the training rows have only one value of {target.name!r}: nothing can be learned")
    return SiteData(names, train, test)


def _features(dataset: Dataset, request: Request) -> list[Column]:
    if not request.features:
        found = [c for c in dataset.description.columns.values() if c.numeric and c.name != request.target]
        if not found:
            raise Fault("dataset: dataset.json describes no column of numbers; name features")
        return found
    columns = [dataset.column(name) for name in request.features]
    for column in columns:
        if column.type in {"date", "text"} or column.name == request.target:
            expected = "numbers, booleans or categories other than the target"
            raise Fault(f"parameters: features: {column.name} is of type {column.type} here; expected {expected}")
    return columns


def _frames(dataset: Dataset, columns: Sequence[Column], request: Request) -> list[tuple[pd.DataFrame, str]]:
    wanted = [*(column.name for column in columns), request.target]
    tables = dataset.description.tables
    if {"train", "test"} <= tables.keys():
        return [(_whole(dataset, table, wanted, request), dataset.file(table)) for table in ("train", "test")]
    if len(tables) != 1:
        there = ", ".join(sorted(tables))
        raise Fault(f"dataset: expected tables train and test, or one table alone; there are {there}")
    [(table, file)] = tables.items()
    whole = _whole(dataset, table, wanted, request)
    held_out = np.arange(len(whole)) % EVERY == EVERY - 1
    return [(whole[~held_out], file), (whole[held_out], file)]


def _whole(dataset: Dataset, table: str, wanted: Sequence[str], request: Request) -> pd.DataFrame:
    """The rows in which no value is missing: all of them, unless the request allows others to be left out."""
    rows = dataset.frame(table, wanted)
    if request.missing == "leave_out":
        return rows.dropna()
    for name in wanted:
        dataset.refuse(table, rows[name].isna(), "a value in each row; with missing=leave_out such rows are left out")
    return rows


def _part(rows: pd.DataFrame, columns: Sequence[Column], target: str, file: str) -> Part:
    if rows.empty:
        raise Fault(f"dataset: {file}: no row is left in which every value is known")
    features = [values for column in columns for values in _values(rows[column.name], column)]
    return Part(np.column_stack(features), rows[target].to_numpy(dtype=np.float64))


def _names(column: Column) -> list[str]:
    return [f"{column.name}={value}" for value in column.values[1:]] if column.type == "category" else [column.name]


def _values(cells: pd.Series, column: Column) -> list[Array]:
    if column.type == "category":
        return [(cells == value).to_numpy(dtype=np.float64) for value in column.values[1:]]
    return [cells.to_numpy(dtype=np.float64)]
