"""The task ``local``: one site's cohort becomes counts and moments, and nothing about single persons.

What leaves: for each variable the number of persons, mean and sum of squared deviations (no smallest, no
largest: they are single persons' values), counts per bin or category, and one table of events and censorings
on the time grid. Every count is 0 or at least ``min_cell``.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from cells import boundaries, groups, showable
from faults import Fault
from jsonfile import write_object
from request import Request, Variable
from table import Column, Dataset, only_dataset

T = TypeVar("T")


def run(datasets: Path, request: Request, host: str, output: Path) -> None:
    """Read the one dataset in ``datasets`` and write ``statistics.json`` into ``output``; raises :class:`Fault`."""
    statistics = summarise(Dataset(only_dataset(datasets)), request, host)
    write_object(output / "statistics.json", statistics)
    kept = len(statistics["survival"]["rows"])
    print(f"{host}: {len(request.variables)} variables, {kept} of {len(request.grid)} time points kept")


def summarise(dataset: Dataset, request: Request, host: str) -> dict[str, Any]:
    """Everything that this site says, as JSON."""
    times = dataset.times(request.time_column)
    events = dataset.truths(request.event_column)
    if not showable(len(times), request.min_cell):
        raise Fault(f"dataset: fewer than {request.min_cell} persons (min_cell): nothing about them may leave")
    return {
        "schema_version": 1,
        "host": host,
        "dataset": {"id": dataset.id, "version": dataset.version},
        "request": request.as_json(),
        "survival": survival_table(times, events, request.grid, request.min_cell),
        "variables": [_variable(dataset, variable, request.min_cell) for variable in request.variables],
    }


def survival_table(times: Sequence[float], events: Sequence[bool], grid: Sequence[float], least: int) -> dict[str, Any]:
    """Persons at risk, events and censorings between the grid points that can be kept.

    A bin holds the times above its start and up to its end (the first also 0). ``after`` are the persons
    observed beyond the last kept point, whatever became of them.
    """
    bins = [bisect_left(grid, time) for time in times]
    died = Counter(index for index, event in zip(bins, events, strict=True) if event)
    left = Counter(bins)
    cells = [(died[index], left[index] - died[index]) for index in range(len(grid))]
    at_risk, rows = len(times), []
    for start, end in pairwise((0, *boundaries(cells, left[len(grid)], least))):
        events_here, censored = (sum(part) for part in zip(*cells[start:end], strict=True))
        counts = {"at_risk": at_risk, "events": events_here, "censored": censored}
        rows.append({"from": grid[start - 1] if start else 0.0, "to": grid[end - 1], **counts})
        at_risk -= events_here + censored
    return {"rows": rows, "after": {"at_risk": at_risk}}


def _variable(dataset: Dataset, variable: Variable, least: int) -> dict[str, Any]:
    column = dataset.column(variable.name)
    if column.numeric:
        numbers = dataset.numbers(column.name)
        return _shown("number", column, numbers, least, lambda present: _numeric(present, variable.edges, least))
    if variable.edges:
        raise Fault(f"parameters: variables.{column.name}.edges: the column is a {column.kind}, so it has no bins")
    names = dataset.categories(column.name)
    return _shown("category", column, names, least, lambda present: _counts(present, column, least))


def _shown(
    kind: str, column: Column, cells: Sequence[T | None], least: int, summary: Callable[[list[T]], dict[str, Any]]
) -> dict[str, Any]:
    """The variable's numbers, or why none are given: a small number without value shows by subtraction too."""
    present = [cell for cell in cells if cell is not None]
    head = {"name": column.name, "kind": kind}
    for count, what in ((len(present), "a value"), (len(cells) - len(present), "no value")):
        if not showable(count, least):
            return {**head, "withheld": f"fewer than {least} persons have {what}"}
    return {**head, "n": len(present), "missing": len(cells) - len(present), **summary(present)}


def _numeric(values: Sequence[float], edges: Sequence[float], least: int) -> dict[str, Any]:
    return {**_moments(values), **({"histogram": _histogram(values, edges, least)} if edges else {})}


def _moments(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sum of squared deviations from it, by exact sums in two passes."""
    if not values:
        return {"mean": None, "m2": None}
    mean = math.fsum(values) / len(values)
    return {"mean": mean, "m2": math.fsum((value - mean) ** 2 for value in values)}


def _histogram(values: Sequence[float], edges: Sequence[float], least: int) -> list[dict[str, float | int | None]]:
    """Counts per bin ``from`` <= value < ``to``; the outer bins are open (None)."""
    counted = Counter(bisect_right(edges, value) for value in values)
    counts = [counted[index] for index in range(len(edges) + 1)]
    ends = (0, *boundaries([(count,) for count in counts[:-1]], counts[-1], least), len(counts))
    outer = (None, *edges, None)
    return [{"from": outer[a], "to": outer[b], "count": sum(counts[a:b])} for a, b in pairwise(ends)]


def _counts(values: Sequence[str], column: Column, least: int) -> dict[str, Any]:
    counted = Counter(values)
    counts = [counted[value] for value in column.values]
    return {
        "counts": [
            {"values": [column.values[index] for index in group], "count": sum(counts[index] for index in group)}
            for group in groups(counts, least)
        ]
    }
