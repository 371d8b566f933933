"""What is predicted on: one record to a row of a table, or two patches to a person's largest lesion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from imaging.faults import Fault
from request import Request
from tables.frame import Dataset
from tables.problems import TableError

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Records:
    """``inputs`` (first axis: records), whose each is, and the outcome of each, if there is one."""

    inputs: Array
    persons: list[str]
    outcomes: npt.NDArray[np.bool_] | None
    left_out: int


def read_table(datasets: Path, request: Request, named: tuple[str, ...]) -> Records:
    """The rows of a table: its features as numbers in the model's order. Raises :class:`Fault`."""
    features = request.features or named
    if not features:
        raise Fault("parameters: features: name the columns in the order of the model's inputs")
    if named and features != named:
        raise Fault("parameters: features: are not those that the model names; leave them out")
    try:
        return _read(Dataset.only(datasets), request, features)
    except TableError as error:
        raise Fault(str(error)) from error


def _read(dataset: Dataset, request: Request, features: tuple[str, ...]) -> Records:
    outcome = (request.outcome,) if request.outcome else ()
    kinds = {name: dataset.column(name).type for name in (*features, *outcome)}
    if wrong := [name for name in features if kinds[name] not in ("integer", "number", "boolean")]:
        raise Fault(f"features: {', '.join(wrong)}: only numbers and booleans go into a model")
    table = request.table or _only_table(dataset)
    frame = dataset.frame(table, [*features, *outcome])
    complete = frame.dropna()
    left_out = len(frame) - len(complete)
    if left_out and request.missing == "refuse":
        raise Fault("a value is missing in a row; -p missing=leave_out leaves such rows out")
    inputs = np.column_stack([complete[name].to_numpy(dtype=np.float64) for name in features]).astype(np.float32)
    truth = _outcomes(complete[outcome[0]], kinds[outcome[0]], request.positive) if outcome else None
    return Records(inputs, [str(line) for line in complete.index], truth, left_out)


def _only_table(dataset: Dataset) -> str:
    tables = list(dataset.description.tables)
    if len(tables) != 1:
        raise Fault("parameters: table: the dataset has several; say which")
    return str(tables[0])


def _outcomes(column: Any, kind: str, positive: str) -> npt.NDArray[np.bool_]:
    if kind == "boolean" and not positive:
        return np.asarray(column.to_numpy(dtype=bool))
    if not positive:
        raise Fault("parameters: positive: say which value of the outcome the model's probability is of")
    texts = column.astype(str)
    known = set(column.cat.categories.astype(str)) if kind == "category" else set(texts)
    if positive not in known:
        raise Fault("parameters: positive: is no value of the outcome")
    return np.asarray(texts == positive)
