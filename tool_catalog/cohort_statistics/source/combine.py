"""The task ``combine``: the sites' answers become pooled statistics and one survival curve."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from answers import Answer, read_answer
from faults import Fault
from jsonfile import read_object, write_object
from plot import survival_plot
from pooling import common_bins, variable
from request import Request
from survival import Point, kaplan_meier, median

COLUMNS = ("time", "at_risk", "events", "censored", "survival", "variance", "lower", "upper", "life_table")


def run(sites: Path, hosts: Path, request: Request, output: Path) -> None:
    """Write ``result.json``, ``kaplan_meier.csv`` and ``kaplan_meier.svg`` into ``output``.

    ``sites`` holds one folder per host with its ``statistics.json``; ``hosts`` is the experiment's list of hosts
    by task. Raises :class:`Fault` if a host is missing, one too many is there, or an answer cannot be used.
    """
    answers = [read_answer(sites / host / "statistics.json", host, request) for host in _expected(sites, hosts)]
    bins = common_bins([answer.rows for answer in answers])
    if not bins:
        raise Fault("no time point is left that all sites could show: ask for a coarser time_grid")
    points = kaplan_meier(bins)
    write_object(output / "result.json", _result(answers, points, request))
    _write_csv(output / "kaplan_meier.csv", points)
    (output / "kaplan_meier.svg").write_text(survival_plot(points, [a.host for a in answers]), encoding="utf-8")
    print(f"{len(answers)} sites, {points[0].bin.at_risk} persons, {len(points)} of {len(request.grid)} time points")


def _expected(sites: Path, hosts: Path) -> list[str]:
    expected = read_object(hosts, "hosts").get("local")
    if not isinstance(expected, list) or not expected or not all(isinstance(host, str) for host in expected):
        raise Fault("hosts: no hosts are listed for the task 'local'")
    found = {path.name for path in sites.iterdir()} if sites.is_dir() else set()
    if found != set(expected):
        missing, unknown = sorted(set(expected) - found), sorted(found - set(expected))
        raise Fault(f"answers do not match the hosts: missing {missing}, not expected {unknown}")
    return sorted(expected)


def _result(answers: Sequence[Answer], points: Sequence[Point], request: Request) -> dict[str, Any]:
    grid = [point.bin.time for point in points]
    return {
        "schema_version": 1,
        "status": "ok",
        "hosts": [{"host": a.host, "dataset": a.dataset, "persons": a.persons} for a in answers],
        "persons": sum(answer.persons for answer in answers),
        "request": request.as_json(),
        "grid": grid,
        "merged_points": [point for point in request.grid if point not in grid],
        "median_survival": median(points),
        "kaplan_meier": [dict(zip(COLUMNS, _cells(point), strict=True)) for point in points],
        "variables": [variable(wanted.name, answers) for wanted in request.variables],
    }


def _write_csv(path: Path, points: Sequence[Point]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([COLUMNS, *map(_cells, points)])


def _cells(point: Point) -> tuple[float | int | None, ...]:
    counts = (point.bin.time, point.bin.at_risk, point.bin.events, point.bin.censored)
    return (*counts, point.survival, point.variance, point.lower, point.upper, point.life_table)
