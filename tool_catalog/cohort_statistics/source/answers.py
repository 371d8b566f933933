"""What a site answered: ``statistics.json``, read as input from a stranger and checked in every part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from faults import Fault
from jsonfile import read_object
from life_tables.cells import showable
from request import Request, Variable


@dataclass(frozen=True)
class Row:
    """One bin of a site's event table: times above ``start`` up to ``end``."""

    start: float
    end: float
    at_risk: int
    events: int
    censored: int


@dataclass(frozen=True)
class Group:
    """Persons in one histogram bin (``key`` its two bounds) or one group of categories (``key`` their names)."""

    key: tuple[Any, ...]
    count: int


@dataclass(frozen=True)
class Summary:
    """One variable at one site. ``mean`` and ``m2`` are None for categories and where nobody has a value."""

    n: int
    missing: int
    mean: float | None
    m2: float | None
    groups: tuple[Group, ...]
    unit: str = ""


@dataclass(frozen=True)
class Answer:
    """A site's whole answer; variables that it withheld are in ``withheld`` with its reason."""

    host: str
    persons: int
    dataset: str
    version: str
    time_unit: str
    rows: tuple[Row, ...]
    kinds: dict[str, str]
    summaries: dict[str, Summary]
    withheld: dict[str, str]


def read_answer(path: Path, host: str, request: Request) -> Answer:
    """The answer of ``host`` to ``request``; raises :class:`Fault` naming host and field."""
    return check_answer(read_object(path, f"answer of {host}"), host, request)


def check_answer(given: dict[str, Any], host: str, request: Request) -> Answer:
    """The same of what was read."""
    return _Reader(host, request).answer(given)


class _Reader:
    """Reads one host's answer; every method raises :class:`Fault` at the first thing that cannot be right."""

    def __init__(self, host: str, request: Request) -> None:
        self._host = host
        self._request = request

    def answer(self, given: dict[str, Any]) -> Answer:
        if given.get("schema_version") != 3 or given.get("host") != self._host:
            raise self._wrong("schema_version or host is not what it must be")
        if given.get("request") != self._request.as_json():
            raise self._wrong("it answers another request (time grid, columns, variables or min_cell differ)")
        survival = self._object(given, "survival")
        rows = tuple(map(self._row, self._list(survival, "rows")))
        after = self._count(self._object(survival, "after"), "at_risk")
        self._check_rows(rows, after)
        described = self._list(given, "variables")
        if [entry.get("name") for entry in described] != [variable.name for variable in self._request.variables]:
            raise self._wrong("its variables are not those that were asked for")
        found = dict(zip((v.name for v in self._request.variables), described, strict=True))
        return Answer(
            host=self._host,
            persons=rows[0].at_risk if rows else after,
            dataset=self._text(self._object(given, "dataset"), "id"),
            version=self._text(self._object(given, "dataset"), "version"),
            time_unit=self._text(survival, "time_unit"),
            rows=rows,
            kinds={name: self._kind(entry) for name, entry in found.items()},
            summaries={
                variable.name: self._summary(found[variable.name], variable)
                for variable in self._request.variables
                if "withheld" not in found[variable.name]
            },
            withheld={name: self._text(entry, "withheld") for name, entry in found.items() if "withheld" in entry},
        )

    def _row(self, entry: dict[str, Any]) -> Row:
        bounds = self._number(entry, "from"), self._number(entry, "to")
        return Row(*bounds, *(self._count(entry, key) for key in ("at_risk", "events", "censored")))

    def _check_rows(self, rows: Sequence[Row], after: int) -> None:
        if rows and rows[0].start != 0:
            raise self._wrong("survival: the first row does not start at 0")
        if not {row.end for row in rows} <= set(self._request.grid):
            raise self._wrong("survival: a time is no point of the grid that was asked for")
        starts_at_risk = [*((row.start, row.at_risk) for row in rows), (rows[-1].end if rows else 0.0, after)]
        for row, (start, at_risk) in zip(rows, starts_at_risk[1:], strict=True):
            if not row.start < row.end == start or row.at_risk - row.events - row.censored != at_risk:
                raise self._wrong("survival: rows do not follow from one another")

    def _kind(self, entry: dict[str, Any]) -> str:
        if entry.get("kind") not in {"number", "category"}:
            raise self._wrong("a variable's kind is neither number nor category")
        return str(entry["kind"])

    def _summary(self, entry: dict[str, Any], variable: Variable) -> Summary:
        n, missing = self._count(entry, "n"), self._count(entry, "missing")
        if entry["kind"] == "category":
            groups = tuple(self._group(part) for part in self._list(entry, "counts"))
            return self._whole(Summary(n, missing, None, None, groups), counted=True)
        mean, m2 = (self._number(entry, key) if n else None for key in ("mean", "sum_of_squared_deviations"))
        if m2 is not None and m2 < 0:
            raise self._wrong("sum_of_squared_deviations is negative")
        groups = tuple(self._bin(part) for part in self._list(entry, "histogram")) if variable.edges else ()
        self._check_bins(groups, variable)
        summary = Summary(n, missing, mean, m2, groups, self._text(entry, "unit"))
        return self._whole(summary, counted=bool(variable.edges))

    def _whole(self, summary: Summary, *, counted: bool) -> Summary:
        if counted and sum(group.count for group in summary.groups) != summary.n:
            raise self._wrong("the counts of a variable do not add up to its n")
        return summary

    def _group(self, entry: dict[str, Any]) -> Group:
        values = entry.get("values")
        if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
            raise self._wrong("counts: values must be texts")
        return Group(tuple(values), self._count(entry, "count"))

    def _bin(self, entry: dict[str, Any]) -> Group:
        bounds = tuple(None if entry.get(key) is None else self._number(entry, key) for key in ("from", "to"))
        return Group(bounds, self._count(entry, "count"))

    def _check_bins(self, groups: Sequence[Group], variable: Variable) -> None:
        if not groups:
            return
        ends = [group.key for group in groups]
        joined = all(left[1] == right[0] in variable.edges for left, right in pairwise(ends))
        if not joined or ends[0][0] is not None or ends[-1][1] is not None:
            raise self._wrong("histogram: the bins do not follow from one another on the edges asked for")

    def _count(self, entry: dict[str, Any], key: str) -> int:
        value = entry.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**12:
            raise self._wrong(f"{key} must be a count")
        if not showable(value, self._request.min_cell):
            raise self._wrong(f"{key} is a small count that should not have left the site")
        return value

    def _number(self, entry: dict[str, Any], key: str) -> float:
        value = entry.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(f"{key} must be a finite number")
        return float(value)

    def _text(self, entry: dict[str, Any], key: str) -> str:
        value = entry.get(key)
        if not isinstance(value, str) or len(value) > 200:
            raise self._wrong(f"{key} must be a short text")
        return value

    def _object(self, entry: dict[str, Any], key: str) -> dict[str, Any]:
        value = entry.get(key)
        if not isinstance(value, dict):
            raise self._wrong(f"{key} must be an object")
        return value

    def _list(self, entry: dict[str, Any], key: str) -> list[dict[str, Any]]:
        value = entry.get(key)
        if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
            raise self._wrong(f"{key} must be a list of objects")
        return value

    def _wrong(self, what: str) -> Fault:
        return Fault(f"answer of {self._host}: {what}; run the task 'local' of the same version there again")
