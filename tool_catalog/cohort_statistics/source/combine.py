"""The task ``combine``: the sites' answers become pooled statistics and one survival curve."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from answers import Answer, read_answer
from faults import Fault
from jsonfile import read_object, write_object
from life_tables.survival import METHOD, Point, life_table, median
from masked import EVERYONE, everyone
from plot import write_plot
from pooling import common_bins, variable
from request import Request

COLUMNS = (
    "from", "time", "at_risk", "events", "censored", "survival", "variance", "lower", "upper", "exact_lowest",
    "exact_highest",
)  # fmt: skip
JOINED = (
    "time points (merged_points) were joined with their neighbours, because smaller counts than min_cell never leave a "
    "site: ask for a coarser time_grid, which keeps more points"
)
ENDS = "the curve ends before the end of the time_grid"
DISTANT = (
    "the Kaplan-Meier estimate of the exact times may be largest_distance_to_exact from the curve, as many persons are "
    "censored in one bin"
)
CLASSES = (
    "classes of a variable were joined with their neighbours, because smaller counts than min_cell never leave a site: "
    "ask for coarser edges"
)
WITHHELD = "a host withholds a variable (withheld of each variable), whose numbers are of the other hosts alone"
COUNTS = "at_risk are persons at the beginning of a bin (from); events and censored are in it, up to and including time"
FAR = 0.05
"""a distance to the exact estimate that is warned of"""


def run(sites: Path, hosts: Path, request: Request, output: Path) -> None:
    """Write ``result.json``, ``survival.csv`` and ``survival.png`` into ``output``.

    ``sites`` holds one folder per host with its ``statistics.json``; ``hosts`` is the experiment's list of hosts
    by task. Raises :class:`Fault` if a host is missing, one too many is there, or an answer cannot be used.
    """
    files = {host: sites / host / "statistics.json" for host in _expected(sites, hosts)}
    if request.secure_sums:
        whole, used = everyone(files, request)
        answers, told = [whole], {"hosts": used, "rows": []}
    else:
        answers = [read_answer(path, host, request) for host, path in files.items()]
        told = {"hosts": [_host(answer) for answer in answers], "rows": [_rows(answer) for answer in answers]}
    unit = _unit(answers)
    bins = common_bins([answer.rows for answer in answers])
    if not bins:
        raise Fault("no time point is left that all sites could show: ask for a coarser time_grid")
    points = life_table(bins)
    result = _result(answers, told, points, request, unit)
    write_object(output / "result.json", result)
    _write_csv(output / "survival.csv", points)
    write_plot(output / "survival.png", points, median(points), list(files), unit, request.event_column)
    print(f"{len(files)} sites, {points[0].bin.at_risk} persons, {len(points)} of {len(request.grid)} time points")
    for warning, told in _warnings(points, request):
        print(f"warning: {warning} ({told})", file=sys.stderr)


def _expected(sites: Path, hosts: Path) -> list[str]:
    expected = read_object(hosts, "hosts").get("local")
    if not isinstance(expected, list) or not expected or not all(isinstance(host, str) for host in expected):
        raise Fault("hosts: no hosts are listed for the task 'local'")
    found = {path.name for path in sites.iterdir()} if sites.is_dir() else set()
    if found != set(expected):
        missing, unknown = sorted(set(expected) - found), sorted(found - set(expected))
        raise Fault(f"answers do not match the hosts: missing {missing}, not expected {unknown}")
    return sorted(expected)


def _unit(answers: Sequence[Answer]) -> str:
    units = {answer.time_unit: answer.host for answer in answers}
    if len(units) > 1:
        told = ", ".join(f"{unit or 'no unit'} at {host}" for unit, host in sorted(units.items()))
        raise Fault(f"the time column has different units ({told}): make the datasets' descriptions agree")
    return next(iter(units))


def _result(
    answers: Sequence[Answer], told: dict[str, Any], points: Sequence[Point], request: Request, unit: str
) -> dict[str, Any]:
    """``told``: what is said of each host."""
    grid = [point.bin.time for point in points]
    persons = sum(answer.persons for answer in answers)
    variables = [_variable(wanted.name, answers, told) for wanted in request.variables]
    return {
        "schema_version": 4,
        "status": "ok",
        "warnings": [*(warning for warning, _ in _warnings(points, request)), *_of_variables(variables, request)],
        **told,
        "persons": persons,
        "request": request.as_json(),
        "method": {**METHOD, "counts": COUNTS},
        "time_unit": unit,
        "grid": grid,
        "merged_points": [point for point in request.grid if point not in grid],
        "largest_distance_to_exact": max(point.distance for point in points),
        "median_survival": {"share": 0.5, "persons": persons, **asdict(median(points))},
        "curve": [dict(zip(COLUMNS, cells, strict=True)) for cells in _cells(points)],
        "variables": variables,
    }


def _variable(name: str, answers: Sequence[Answer], told: dict[str, Any]) -> dict[str, Any]:
    """A masked one is of all hosts: none of them can withhold it."""
    found, (first, *others) = variable(name, answers), answers
    masked = first.host == EVERYONE and not others
    return found | {"hosts": [host["host"] for host in told["hosts"]]} if masked else found


def _host(answer: Answer) -> dict[str, Any]:
    return {"host": answer.host, "dataset": answer.dataset, "version": answer.version, "persons": answer.persons}


def _rows(answer: Answer) -> dict[str, Any]:
    """A site that answers has used every row: one without time or event is refused there, with its line."""
    used = {"read": answer.persons, "used": answer.persons, "left_out": 0, "why": None}
    return {"host": answer.host, "dataset": answer.dataset, "version": answer.version, **used}


def _warnings(points: Sequence[Point], request: Request) -> Iterator[tuple[str, str]]:
    """What a reader of the curve must know before it is used, in words of tool.yaml; and with its numbers."""
    kept, asked = len(points), len(request.grid)
    if kept < asked:
        longest = max(end - start for start, end in pairwise((0.0, *(point.bin.time for point in points))))
        yield JOINED, f"{asked - kept} of {asked} time points; the longest bin has {longest:g}"
    if points[-1].bin.time < request.grid[-1]:
        yield ENDS, f"at {points[-1].bin.time:g}; {request.grid[-1]:g} was asked for"
    far = max(points, key=lambda point: point.distance)
    if far.distance > FAR:
        yield DISTANT, f"{far.distance:.3f} at {far.bin.time:g}"


def _of_variables(variables: Sequence[dict[str, Any]], request: Request) -> list[str]:
    """What a reader of the variables' numbers must know."""
    joined = any(
        len(told.get("histogram", wanted.edges)) < len(wanted.edges) + ("histogram" in told)
        or any(len(group["values"]) > 1 for group in told.get("counts", ()))
        for wanted, told in zip(request.variables, variables, strict=True)
    )
    return [*([CLASSES] if joined else []), *([WITHHELD] if any(told["withheld"] for told in variables) else [])]


def _write_csv(path: Path, points: Sequence[Point]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([COLUMNS, *_cells(points)])


def _cells(points: Sequence[Point]) -> Iterator[tuple[float | int | None, ...]]:
    start = 0.0
    for point in points:
        counts = (point.bin.time, point.bin.at_risk, point.bin.events, point.bin.censored)
        estimates = (point.survival, point.variance, point.lower, point.upper, point.lowest, point.highest)
        yield (start, *counts, *estimates)
        start = point.bin.time
