"""The task ``local``: one site's rows become sums, and nothing about single persons.

What leaves: the number of rows, the means of the model's columns, and the sums of products of deviations of each two.
None of them is about fewer than ``min_cell`` persons, or than a third of as many persons as the model has parameters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from regression.design import design, meaning, only_table, outcome, read_frame
from regression.jsonfile import write_object
from regression.persons import check_group, check_rows, check_site, smallest_group
from regression.rows import rows_of
from request import Request
from sums import Sums
from tables.frame import Dataset


def run(datasets: Path, request: Request, host: str, output: Path) -> None:
    """Read the one dataset in ``datasets`` and write ``sums.json`` into ``output``.

    Raises Fault, or TableError for a table that is not as its description says.
    """
    answer = summarise(Dataset.only(datasets), request, host)
    write_object(output / "sums.json", answer)
    print(f"{host}: sums of {len(answer['terms'])} terms, the outcome among them, over {answer['n']} persons")


def summarise(dataset: Dataset, request: Request, host: str) -> dict[str, Any]:
    """Everything that this site says, as JSON."""
    formula, table = request.formula, only_table(dataset, request.table)
    frame, left_out = read_frame(dataset, table, formula.columns, request.missing)
    check_rows(len(frame), request.min_cell)
    made = design(dataset, table, formula, frame)
    rows = np.column_stack([made.rows, outcome(dataset, table, formula, frame)])
    group = smallest_group(rows, [*made.names, formula.outcome])
    check_group(group, request.min_cell)
    check_site(len(made.names) + formula.intercept, len(rows))
    sums = Sums.of(rows)
    counted = {} if request.secure_sums else {"rows": rows_of(sums.n, left_out, request.min_cell).as_json()}
    return {
        "schema_version": 3,
        "host": host,
        "dataset": {"id": dataset.description.id, "version": dataset.description.version},
        "request": request.as_json(),
        "columns": meaning(dataset, formula.columns),
        "n": sums.n,
        **counted,
        "smallest_group": group.persons,
        **(sums.as_addends() if request.secure_sums else sums.as_json()),
    }
