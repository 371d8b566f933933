"""What one site trains on: the formula's columns, and whether sums over these rows may leave."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from regression.design import design, only_table, outcome, read_frame
from regression.formula import Formula
from regression.persons import check_group, check_rows, check_site, smallest_group
from tables.frame import Dataset

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Site:
    """``rows`` by ``names``: the model's columns, and last the outcome."""

    names: tuple[str, ...]
    rows: Array


def read_site(datasets: Path, formula: Formula, *, table: str, missing: str, min_cell: int) -> Site:
    """Read the one dataset in ``datasets``; parameters as tool.yaml has them.

    Raises Fault for sums that would speak of fewer than ``min_cell`` persons, or TableError for a table that is not as
    its description says.
    """
    dataset = Dataset.only(datasets)
    table = only_table(dataset, table)
    frame, _ = read_frame(dataset, table, formula.columns, missing)
    check_rows(len(frame), min_cell)
    made = design(dataset, table, formula, frame)
    rows = np.column_stack([made.rows, outcome(dataset, table, formula, frame)])
    names = (*made.names, formula.outcome)
    check_group(smallest_group(rows, names), min_cell)
    check_site(len(names), len(rows))
    return Site(names, rows)
