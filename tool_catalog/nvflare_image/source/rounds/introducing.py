"""What a host tells of its rows before the first round."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from regression.design import Design, meaning
from regression.persons import check_group, check_rows, check_site, smallest_group
from regression.rows import rows_of
from tables.frame import Dataset

from .request import Request
from .standard import Moments

Array = npt.NDArray[np.float64]


def introduction(
    dataset: Dataset,
    request: Request,
    columns: tuple[str, ...],
    design: Design,
    events: Array,
    *,
    intercept: bool,
    left_out: int,
) -> dict[str, Any]:
    """Counts, and moments of the terms; ``events`` says of each row whether the outcome is true.

    ``left_out``: how many rows were not used.

    Raises Fault if a sum over the rows would speak of fewer than ``min_cell`` persons, or if the model has too many
    parameters for them.
    """
    check_rows(len(events), request.min_cell)
    group = smallest_group(np.column_stack([design.rows, events]), [*design.names, "the outcome"])
    check_group(group, request.min_cell)
    check_site(len(design.names) + intercept, len(events))
    moments = Moments.of(design.rows)
    return {
        "schema_version": 1,
        "dataset": {"id": dataset.description.id, "version": dataset.description.version},
        "request": request.as_json(),
        "columns": meaning(dataset, columns),
        "terms": list(design.names),
        "n": len(events),
        "rows": rows_of(len(events), left_out, request.min_cell).as_json(),
        "events": int(events.sum()),
        "smallest_group": group.persons,
        "means": moments.means.tolist(),
        "squares": moments.squares.tolist(),
    }
