"""One site's rows as the numbers of a model: the same columns at every site, whatever values occur there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import formulaic
import numpy as np
import numpy.typing as npt
import pandas as pd
from tables.description import Column
from tables.frame import Dataset

from .faults import Fault
from .formula import Formula

Array = npt.NDArray[np.float64]
INTERCEPT = "Intercept"


@dataclass(frozen=True)
class Design:
    """``rows`` by ``names``: the model's columns without its intercept. ``frame`` are the cells that it is made of."""

    names: tuple[str, ...]
    rows: Array
    frame: pd.DataFrame


def only_table(dataset: Dataset, wanted: str) -> str:
    """The table that is named, or the only one. Raises :class:`Fault`, or TableError naming those that there are."""
    if wanted:
        dataset.file(wanted)
        return wanted
    found = sorted(dataset.description.tables)
    if len(found) != 1:
        raise Fault(f"parameters: table: the dataset has {', '.join(found)}: name one")
    return found[0]


def read_frame(dataset: Dataset, table: str, columns: tuple[str, ...], missing: str) -> tuple[pd.DataFrame, int]:
    """The rows of the columns in which no value is missing, and how many others were left out.

    ``missing`` says what becomes of others.

    Numbers and truth values are float64, categories have all values of their description. Raises TableError, or
    :class:`Fault` if a column is of another type or no row is left.
    """
    for name in columns:
        _check_type(dataset.column(name))
    frame = dataset.frame(table, columns)
    read = len(frame)
    if missing == "leave_out":
        frame = frame.dropna()
    for name in columns:
        expected = "a value in each row; with missing=leave_out such rows are left out"
        dataset.refuse(table, frame[name].isna(), expected)
    if frame.empty:
        raise Fault(f"dataset: {dataset.file(table)}: no row is left in which every value is known")
    types = {name: float for name in columns if dataset.column(name).type != "category"}
    return frame.astype(types), read - len(frame)


def design(dataset: Dataset, table: str, formula: Formula, frame: pd.DataFrame) -> Design:
    """The right side's columns. Raises TableError naming the lines for which a function has no value."""
    matrix = _matrix(formula.right, frame).drop(columns=INTERCEPT, errors="ignore")
    for name in matrix.columns:
        _refuse(dataset, table, matrix[name])
    return Design(tuple(map(str, matrix.columns)), matrix.to_numpy(dtype=np.float64), frame)


def outcome(dataset: Dataset, table: str, formula: Formula, frame: pd.DataFrame) -> Array:
    """The left side's values. Raises :class:`Fault` unless it is one number a row."""
    values = _matrix(f"0 + {formula.outcome}", frame)
    if values.shape[1] != 1:
        raise Fault(f"parameters: formula: {formula.outcome} is a category, and the outcome must be a number")
    _refuse(dataset, table, values.iloc[:, 0].rename(formula.outcome))
    return np.asarray(values.iloc[:, 0].to_numpy(dtype=np.float64))


def term_names(formula: Formula, columns: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The names of the design's columns, from what :func:`meaning` says of the formula's columns alone."""
    cells = {
        column["name"]: pd.Categorical(column["values"][:1], categories=column["values"])
        if column["type"] == "category"
        else [1.0]
        for column in columns
    }
    return tuple(map(str, _matrix(formula.right, pd.DataFrame(cells)).drop(columns=INTERCEPT, errors="ignore").columns))


def meaning(dataset: Dataset, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """What sites must agree on before sums over their rows can be added."""
    described = [dataset.column(name) for name in columns]
    return [{"name": c.name, "type": c.type, "unit": c.unit or None, "values": list(c.values)} for c in described]


def _matrix(right: str, frame: pd.DataFrame) -> pd.DataFrame:
    with np.errstate(all="ignore"):
        made = formulaic.Formula(right).get_model_matrix(frame, na_action="ignore", context={"sqrt": np.sqrt})
    return pd.DataFrame(made)


def _check_type(column: Column) -> None:
    if column.type in {"date", "text"}:
        expected = "integer, number, boolean or category"
        raise Fault(f"parameters: formula: {column.name} is of type {column.type} here; expected {expected}")


def _refuse(dataset: Dataset, table: str, values: pd.Series) -> None:
    wrong = ~np.isfinite(values.astype(float))
    dataset.refuse(table, wrong, "a value of which this can be taken: log needs values above 0, sqrt 0 or more")
