"""What the researcher asks for: the parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from regression.faults import Fault
from regression.jsonfile import check_known, choice, read_object, text, whole

MOST_POINTS = 400
KNOWN = ("time_grid", "time_column", "event_column", "group", "table", "missing", "min_cell")


@dataclass(frozen=True)
class Request:
    """``grid`` are the ends of the time bins, rising, in the time column's unit; no ``group`` is one curve of all."""

    grid: tuple[float, ...]
    time_column: str
    event_column: str
    group: str
    table: str
    missing: str
    min_cell: int

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        return (self.time_column, self.event_column, *((self.group,) if self.group else ()))

    def as_json(self) -> dict[str, Any]:
        """The normalised request: equal requests give equal objects, by which sites' answers are compared."""
        asked = ("time_column", "event_column", "group", "min_cell")
        return {"grid": list(self.grid), **{name: getattr(self, name) for name in asked}}


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises Fault naming the parameter that is wrong."""
    given = read_object(path, "parameters")
    check_known(given, KNOWN)
    request = Request(
        grid=_grid(given.get("time_grid")),
        time_column=text(given, "time_column", "time"),
        event_column=text(given, "event_column", "event"),
        group=text(given, "group", ""),
        table=text(given, "table", ""),
        missing=choice(given, "missing", ("refuse", "leave_out")),
        min_cell=whole(given, "min_cell", 10, 5, 10_000),
    )
    if len(set(request.columns)) < len(request.columns):
        raise Fault("parameters: time_column, event_column and group must be different columns")
    return request


def _grid(value: Any) -> tuple[float, ...]:
    if isinstance(value, dict) and value.keys() == {"points"}:
        return _rising(value["points"])
    if isinstance(value, dict) and value.keys() == {"step", "end"}:
        return _steps(_number(value["step"], "time_grid.step"), _number(value["end"], "time_grid.end"))
    raise Fault("parameters: time_grid: give either {step, end} or {points: [...]}")


def _steps(step: float, end: float) -> tuple[float, ...]:
    if step <= 0 or end < step:
        raise Fault("parameters: time_grid: step must be above 0 and end at least one step")
    count = end / step
    if count > MOST_POINTS + 0.5:
        raise Fault(f"parameters: time_grid: more than {MOST_POINTS} steps up to the end; take a longer step")
    if abs(count - round(count)) > 1e-9:
        raise Fault("parameters: time_grid: end must be a multiple of step")
    return tuple(step * index for index in range(1, round(count) + 1))


def _rising(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_POINTS:
        raise Fault(f"parameters: time_grid.points: must be a list of 1 to {MOST_POINTS} numbers")
    numbers = tuple(_number(entry, "time_grid.points") for entry in value)
    if numbers[0] <= 0 or any(a >= b for a, b in pairwise(numbers)):
        raise Fault("parameters: time_grid.points: the numbers must rise from above 0")
    return numbers


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Fault(f"parameters: {where}: must be a finite number")
    return float(value)
