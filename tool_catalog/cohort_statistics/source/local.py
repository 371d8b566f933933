"""The task ``local``: one site's cohort becomes counts and moments, and nothing about single persons.

What leaves: for each variable the number of persons, mean and sum of squared deviations (no smallest, no
largest: they are single persons' values), counts per bin or category, and one table of events and censorings
on the time grid. Every count is 0 or at least ``min_cell``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from faults import Fault
from jsonfile import write_object
from life_tables.cells import boundaries, groups, showable
from request import Request, Variable
from tables.description import Column
from tables.frame import Dataset

TABLE = "cohort"
MEANING = {
    "survival": "rows are time intervals above from, up to and including to, each with the persons at risk when it "
    "begins; neighbours were joined where a count was of fewer than min_cell persons",
    "mean": "arithmetic mean of the n persons who have a value; missing counts those who have none",
    "sum_of_squared_deviations": "squared differences from the mean, added up; divided by n - 1 it is the "
    "variance, and the root of that the standard deviation",
    "histogram": "persons with a value from from up to below to; neighbouring classes were joined "
    "where one had fewer than min_cell persons",
    "counts": "persons by category; categories that stand together in values were joined, as "
    "one of them had fewer than min_cell persons",
}
"""of what a site writes: for whoever reads the file"""
_TOO_FINE = (
    "parameters: {}: with secure_sums no cells are joined, and here {} has fewer than min_cell persons: ask for a "
    "coarser one, or leave it out"
)
TRUTHS = ("0", "1")
"""the categories of a boolean"""


def run(datasets: Path, request: Request, host: str, output: Path) -> None:
    """Read the one dataset in ``datasets`` and write ``statistics.json`` into ``output``.

    Raises :class:`Fault`, or TableError for a table that is not as its description says.
    """
    statistics = summarise(Dataset.only(datasets), request, host)
    if request.secure_sums:
        check_whole(statistics, request)
    write_object(output / "statistics.json", statistics)
    kept = len(statistics["survival"]["rows"])
    print(f"{host}: {len(request.variables)} variables, {kept} of {len(request.grid)} time points kept")


def summarise(dataset: Dataset, request: Request, host: str) -> dict[str, Any]:
    """Everything that this site says, as JSON."""
    _check_columns(dataset, request)
    names = [request.time_column, request.event_column, *(variable.name for variable in request.variables)]
    persons = dataset.frame(TABLE, names)
    times, events = _survival(dataset, persons, request)
    if not showable(len(persons), request.min_cell):
        raise Fault(f"dataset: fewer than {request.min_cell} persons (min_cell): nothing about them may leave")
    return {
        "schema_version": 3,
        "meaning": MEANING,
        "host": host,
        "dataset": {"id": dataset.description.id, "version": dataset.description.version},
        "request": request.as_json(),
        "survival": {
            "time_unit": dataset.column(request.time_column).unit,
            **survival_table(times, events, request.grid, request.min_cell),
        },
        "variables": [
            _variable(dataset.column(variable.name), persons[variable.name], variable, request.min_cell)
            for variable in request.variables
        ],
    }


def check_whole(statistics: dict[str, Any], request: Request) -> None:
    """Raise :class:`Fault` unless every cell that was asked for is there: numbers that hosts mask are added up cell by
    cell, so that none of them may join cells, or withhold them, as it does else."""
    if len(statistics["survival"]["rows"]) < len(request.grid):
        raise Fault(_TOO_FINE.format("time_grid", "a time bin"))
    for variable, told in zip(request.variables, statistics["variables"], strict=True):
        joined = any(len(group["values"]) > 1 for group in told.get("counts", ()))
        bins = len(told.get("histogram", ())) < len(variable.edges) + bool(variable.edges)
        if "withheld" in told or not told["n"] or joined or bins:
            raise Fault(_TOO_FINE.format(f"variables.{variable.name}", "a bin, a category or all of it"))


def survival_table(times: np.ndarray, events: np.ndarray, grid: Sequence[float], least: int) -> dict[str, Any]:
    """Persons at risk, events and censorings between the grid points that can be kept.

    A bin holds the times above its start and up to its end (the first also 0). ``after`` are the persons
    observed beyond the last kept point, whatever became of them.
    """
    bins = np.searchsorted(grid, times, side="left")
    died = np.bincount(bins[events], minlength=len(grid) + 1).tolist()
    left = np.bincount(bins, minlength=len(grid) + 1).tolist()
    cells = [(died[index], left[index] - died[index]) for index in range(len(grid))]
    at_risk, rows = len(times), []
    for start, end in pairwise((0, *boundaries(cells, left[len(grid)], least))):
        events_here, censored = (sum(part) for part in zip(*cells[start:end], strict=True))
        counts = {"at_risk": at_risk, "events": events_here, "censored": censored}
        rows.append({"from": grid[start - 1] if start else 0.0, "to": grid[end - 1], **counts})
        at_risk -= events_here + censored
    return {"rows": rows, "after": {"at_risk": at_risk}}


def _check_columns(dataset: Dataset, request: Request) -> None:
    """That the columns have types with which this tool can do what is asked."""
    wanted = [
        (request.time_column, "time_column", ("number", "integer")),
        (request.event_column, "event_column", ("boolean",)),
    ]
    wanted += [(v.name, "variables", ("number", "integer", "boolean", "category")) for v in request.variables]
    for name, parameter, types in wanted:
        kind = dataset.column(name).type
        if kind not in types:
            raise Fault(f"parameters: {parameter}: {name} is of type {kind} here; expected {' or '.join(types)}")
    for variable in request.variables:
        kind = dataset.column(variable.name).type
        if variable.edges and kind not in {"number", "integer"}:
            raise Fault(f"parameters: variables.{variable.name}.edges: the column is a {kind}, so it has no bins")


def _survival(dataset: Dataset, persons: pd.DataFrame, request: Request) -> tuple[np.ndarray, np.ndarray]:
    times, events = persons[request.time_column], persons[request.event_column]
    dataset.refuse(TABLE, times.isna(), "a time: leave out persons whose time is unknown")
    dataset.refuse(TABLE, times < 0, "a time since the start of observation, 0 or more")
    dataset.refuse(TABLE, events.isna(), "whether the event happened: leave out persons of whom it is unknown")
    return times.to_numpy(dtype=float), events.to_numpy(dtype=bool)


def _variable(column: Column, cells: pd.Series, variable: Variable, least: int) -> dict[str, Any]:
    if column.numeric:
        present = cells.dropna().to_numpy(dtype=float).tolist()
        head = {"name": column.name, "kind": "number", "unit": column.unit}
        return _shown(head, len(cells), present, least, lambda: _numeric(present, variable.edges, least))
    values = TRUTHS if column.type == "boolean" else column.values
    named = cells.dropna()
    codes = (named.astype(int) if column.type == "boolean" else named.cat.codes).tolist()
    head = {"name": column.name, "kind": "category"}
    return _shown(head, len(cells), codes, least, lambda: _counts(codes, values, least))


def _shown(
    head: dict[str, Any], persons: int, present: Sequence[Any], least: int, summary: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The variable's numbers, or why none are given: a small number without value shows by subtraction too."""
    for count, what in ((len(present), "a value"), (persons - len(present), "no value")):
        if not showable(count, least):
            return {**head, "withheld": f"fewer than min_cell persons have {what}"}
    return {**head, "n": len(present), "missing": persons - len(present), **summary()}


def _numeric(values: Sequence[float], edges: Sequence[float], least: int) -> dict[str, Any]:
    return {**_moments(values), **({"histogram": _histogram(values, edges, least)} if edges else {})}


def _moments(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sum of squared deviations from it, by exact sums in two passes."""
    if not values:
        return {"mean": None, "sum_of_squared_deviations": None}
    mean = math.fsum(values) / len(values)
    return {"mean": mean, "sum_of_squared_deviations": math.fsum((value - mean) ** 2 for value in values)}


def _histogram(values: Sequence[float], edges: Sequence[float], least: int) -> list[dict[str, float | int | None]]:
    """Counts per bin ``from`` <= value < ``to``; the outer bins are open (None)."""
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).tolist()
    ends = (0, *boundaries([(count,) for count in counts[:-1]], counts[-1], least), len(counts))
    outer = (None, *edges, None)
    return [{"from": outer[a], "to": outer[b], "count": sum(counts[a:b])} for a, b in pairwise(ends)]


def _counts(codes: Sequence[int], values: Sequence[str], least: int) -> dict[str, Any]:
    counts = np.bincount(np.array(codes, dtype=int), minlength=len(values)).tolist()
    return {
        "counts": [
            {"values": [values[index] for index in group], "count": sum(counts[index] for index in group)}
            for group in groups(counts, least)
        ]
    }
