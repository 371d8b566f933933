"""The task ``local``: one site's cohort becomes a table of events on the time grid for each group, and no time leaves.

Every count is 0 or at least ``min_cell``: bins that would speak of fewer persons are joined with their neighbours, and
a group of fewer persons is withheld.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from life_tables.cells import boundaries
from log_rank import Excess
from regression.design import meaning, only_table, read_frame
from regression.faults import Fault
from regression.jsonfile import write_object
from regression.persons import check_rows
from regression.rows import Rows, rows_of
from request import Request
from tables.frame import Dataset

Array = npt.NDArray[np.float64]
Members = npt.NDArray[np.bool_]
TRUTHS = ("0", "1")
"""the groups of a boolean column"""


def run(datasets: Path, request: Request, host: str, output: Path) -> None:
    """Read the one dataset in ``datasets`` and write ``events.json`` into ``output``.

    Raises Fault, or TableError for a table that is not as its description says.
    """
    answer = summarise(Dataset.only(datasets), request, host)
    write_object(output / "events.json", answer)
    told = sum("rows" in group for group in answer["groups"])
    print(f"{host}: events of {told} of {len(answer['groups'])} groups")


def summarise(dataset: Dataset, request: Request, host: str) -> dict[str, Any]:
    """Everything that this site says, as JSON."""
    _check_types(dataset, request)
    table = only_table(dataset, request.table)
    persons, left_out = read_frame(dataset, table, request.columns, request.missing)
    dataset.refuse(table, persons[request.time_column] < 0, "a time since the start of observation, 0 or more")
    check_rows(len(persons), request.min_cell)
    groups = _groups(dataset, persons, request)
    return {
        "schema_version": 1,
        "host": host,
        "dataset": {"id": dataset.description.id, "version": dataset.description.version},
        "request": request.as_json(),
        "columns": meaning(dataset, request.columns),
        "rows": _rows(len(persons), left_out, groups, request.min_cell).as_json(),
        "groups": groups,
    }


def event_table(times: Array, events: Array, grid: Sequence[float], least: int) -> dict[str, Any]:
    """Persons at risk, events and censorings between the grid points that can be kept.

    A bin holds the times above its start and up to its end (the first also 0). ``after`` are the persons observed
    beyond the last kept point, whatever became of them.
    """
    bins = np.searchsorted(grid, times, side="left")
    died = np.bincount(bins[events > 0], minlength=len(grid) + 1).tolist()
    left = np.bincount(bins, minlength=len(grid) + 1).tolist()
    cells = [(died[index], left[index] - died[index]) for index in range(len(grid))]
    at_risk, rows = len(times), []
    for start, end in pairwise((0, *boundaries(cells, left[len(grid)], least))):
        happened, censored = (sum(part) for part in zip(*cells[start:end], strict=True))
        counts = {"at_risk": at_risk, "events": happened, "censored": censored}
        rows.append({"from": grid[start - 1] if start else 0.0, "to": grid[end - 1], **counts})
        at_risk -= happened + censored
    return {"persons": len(times), "rows": rows, "after": {"at_risk": at_risk}}


def _rows(used: int, left_out: int, groups: Sequence[dict[str, Any]], least: int) -> Rows:
    """Of a withheld group nothing is told, and the rows that are used would tell how many are in it."""
    whole = all("rows" in group for group in groups)
    return rows_of(used, left_out, least) if whole else Rows(used, None)


def _check_types(dataset: Dataset, request: Request) -> None:
    wanted = [
        ("time_column", request.time_column, ("number", "integer")),
        ("event_column", request.event_column, ("boolean",)),
    ]
    wanted += [("group", request.group, ("category", "boolean"))] if request.group else []
    for parameter, name, types in wanted:
        kind = dataset.column(name).type
        if kind not in types:
            raise Fault(f"parameters: {parameter}: {name} is of type {kind} here; expected {' or '.join(types)}")


def _groups(dataset: Dataset, persons: pd.DataFrame, request: Request) -> list[dict[str, Any]]:
    """All groups of the description, whether or not there is a person in them here; one without a name if none."""
    times, events = (persons[name].to_numpy(dtype=float) for name in (request.time_column, request.event_column))
    members = _members(dataset, persons, request)
    told = {name: where for name, where in members.items() if where.sum() >= request.min_cell}
    tests = _tests(times, events, told, request.min_cell)
    return [
        {"group": name, **event_table(times[where], events[where], request.grid, request.min_cell), **tests[name]}
        if name in told
        else {"group": name, "withheld": "fewer than min_cell persons"}
        for name, where in members.items()
    ]


def _members(dataset: Dataset, persons: pd.DataFrame, request: Request) -> dict[str | None, Members]:
    if not request.group:
        return {None: np.ones(len(persons), dtype=bool)}
    column, cells = dataset.column(request.group), persons[request.group]
    if column.type == "boolean":
        return {name: (cells == float(name)).to_numpy(dtype=bool) for name in TRUTHS}
    return {name: (cells == name).to_numpy(dtype=bool) for name in column.values}


def _tests(
    times: Array, events: Array, told: dict[str | None, Members], least: int
) -> dict[str | None, dict[str, Any]]:
    """What the log-rank test needs of each group; nothing where one of them has fewer than ``least`` events."""
    if len(told) < 2 or any(events[where].sum() < least for where in told.values()):
        return {name: {"excess": None, "variance": []} for name in told}
    inside = np.any(list(told.values()), axis=0)
    found = Excess.of(times[inside], events[inside], np.column_stack([where[inside] for where in told.values()]))
    pairs = zip(found.events.tolist(), found.variance.tolist(), strict=True)
    return {name: {"excess": excess, "variance": row} for name, (excess, row) in zip(told, pairs, strict=True)}
