"""The task ``combine``: the sites' tables of events become one survival curve for each group."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from answers import Row, Told, read_answer
from life_tables.survival import METHOD, Bin, Point, life_table, median
from log_rank import log_rank
from regression.answers import same
from regression.faults import Fault
from regression.jsonfile import hosts_with_answers, write_object
from request import Request

COLUMNS = (
    "from", "time", "at_risk", "events", "censored", "survival", "variance", "lower", "upper", "exact_lowest",
    "exact_highest",
)  # fmt: skip
FAR = 0.05
"""a distance to the exact estimate that is warned of"""
LOG_RANK = "Mantel's, stratified by host, of the exact times; over the hosts that it names"
COUNTS = "at_risk are persons at the beginning of a bin (from); events and censored are in it, up to and including time"
JOINED = "time points (merged_points) were joined with others: ask for a coarser time_grid"
DISTANT = "a curve may be far from the estimate of the exact times (largest_distance_to_exact)"
WITHHELD = "a host withholds a group of fewer than min_cell persons (hosts of each curve)"
UNTOLD = (
    "a host has a group whose counts are too small at every time, so that the curve is without its persons (hosts of "
    "each curve): ask for a coarser time_grid"
)


@dataclass(frozen=True)
class Curve:
    """One group's curve; ``hosts`` are those that did not withhold the group."""

    group: str | None
    hosts: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def distance(self) -> float:
        """How far the Kaplan-Meier estimate of the exact times can be from the curve."""
        return max(point.distance for point in self.points)


def run(sites: Path, hosts: Path, request: Request, output: Path) -> None:
    """Write ``result.json`` and ``curves.csv`` into ``output``.

    ``sites`` holds one folder per host with its ``events.json``; ``hosts`` is the experiment's list of hosts by task.
    Raises Fault if a host is missing, one too many is there, or an answer cannot be used.
    """
    told = [read_answer(sites / host / "events.json", host, request) for host in hosts_with_answers(sites, hosts)]
    same([(entry.host, entry.columns) for entry in told], "types, units or categories of the columns")
    names = same([(entry.host, tuple(entry.groups)) for entry in told], "the groups")
    curves = [curve for name in names if (curve := _curve(name, told))]
    if not curves:
        raise Fault("no time point is left that all sites could show: ask for a coarser time_grid, or for other groups")
    result = _result(told, curves, request)
    write_object(output / "result.json", result)
    _write_csv(output / "curves.csv", curves)
    print(f"{len(told)} sites, {len(curves)} of {len(names)} groups")
    for warning in result["warnings"]:
        print(f"warning: {warning}")


def _tables(name: str | None, told: Sequence[Told]) -> dict[str, tuple[Row, ...]]:
    """The group's event tables by host, without the hosts that withhold it or can show no point."""
    return {entry.host: rows for entry in told if (rows := entry.groups[name])}


def _curve(name: str | None, told: Sequence[Told]) -> Curve | None:
    tables = _tables(name, told)
    bins = _bins(list(tables.values()), _shared(tables.values()))
    return Curve(name, tuple(tables), tuple(life_table(bins))) if bins else None


def _shared(tables: Iterable[Sequence[Row]]) -> list[float]:
    """The time points that all of these tables kept."""
    ends = [{row.end for row in table} for table in tables]
    return sorted(set.intersection(*ends)) if ends else []


def _bins(tables: Sequence[Sequence[Row]], ends: Sequence[float]) -> list[Bin]:
    rows = [row for table in tables for row in table]
    return [_bin(rows, start, end) for start, end in pairwise((0.0, *ends))]


def _bin(rows: Iterable[Row], start: float, end: float) -> Bin:
    inside = [row for row in rows if start <= row.start and row.end <= end]
    at_risk = sum(row.at_risk for row in inside if row.start == start)
    return Bin(end, at_risk, sum(row.events for row in inside), sum(row.censored for row in inside))


def _result(told: Sequence[Told], curves: Sequence[Curve], request: Request) -> dict[str, Any]:
    tested = [entry for entry in told if entry.test is not None]
    test = log_rank({entry.host: entry.test for entry in tested if entry.test is not None})
    unit = next(column["unit"] for column in told[0].columns if column["name"] == request.time_column)
    return {
        "schema_version": 3,
        "status": "ok",
        "warnings": _warnings(curves, request, told),
        "hosts": [{"host": entry.host, "dataset": entry.dataset, "version": entry.version} for entry in told],
        "rows": [entry.rows.told(entry.host, entry.dataset, entry.version) for entry in told],
        "request": request.as_json(),
        "method": {**METHOD, "counts": COUNTS, "log_rank": LOG_RANK},
        "time_unit": unit,
        "curves": [_shown(curve, request) for curve in curves],
        "log_rank": None if test is None else asdict(test) | {"persons": sum(entry.rows.used for entry in tested)},
    }


def _shown(curve: Curve, request: Request) -> dict[str, Any]:
    grid, persons = [point.bin.time for point in curve.points], curve.points[0].bin.at_risk
    return {
        "group": curve.group,
        "hosts": list(curve.hosts),
        "persons": persons,
        "merged_points": [point for point in request.grid if point not in grid],
        "largest_distance_to_exact": curve.distance,
        "median_survival": {"share": 0.5, "persons": persons, **asdict(median(curve.points))},
        "curve": [dict(zip(COLUMNS, cells, strict=True)) for cells in _cells(curve)],
    }


def _warnings(curves: Sequence[Curve], request: Request, told: Sequence[Told]) -> list[str]:
    """What a reader of the curves must know before they are used."""
    groups = [rows for entry in told for rows in entry.groups.values()]
    without = told[0].groups.keys() - {curve.group for curve in curves}
    found = {
        JOINED: any(len(curve.points) < len(request.grid) for curve in curves),
        DISTANT: any(curve.distance > FAR for curve in curves),
        WITHHELD: None in groups,
        UNTOLD: () in groups or any(entry.groups[name] for entry in told for name in without),
    }
    return [warning for warning, holds in found.items() if holds]


def _write_csv(path: Path, curves: Sequence[Curve]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("group", *COLUMNS))
        writer.writerows((curve.group, *cells) for curve in curves for cells in _cells(curve))


def _cells(curve: Curve) -> Iterator[tuple[float | int | None, ...]]:
    start = 0.0
    for point in curve.points:
        counts = (point.bin.time, point.bin.at_risk, point.bin.events, point.bin.censored)
        estimates = (point.survival, point.variance, point.lower, point.upper, point.lowest, point.highest)
        yield (start, *counts, *estimates)
        start = point.bin.time
