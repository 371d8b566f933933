"""What the researcher asks for: the parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from faults import Fault
from jsonfile import read_object

MOST_POINTS = 400
LEAST_MIN_CELL = 3
KNOWN = frozenset({"time_grid", "time_column", "event_column", "variables", "min_cell", "secure_sums"})


@dataclass(frozen=True)
class Variable:
    """A column to be summarised; with ``edges`` also counted in the bins that they bound."""

    name: str
    edges: tuple[float, ...] = ()


@dataclass(frozen=True)
class Request:
    """The checked parameters. ``grid`` are the ends of the time bins, rising, in the time column's unit."""

    grid: tuple[float, ...]
    time_column: str
    event_column: str
    variables: tuple[Variable, ...]
    min_cell: int
    secure_sums: bool = False

    def as_json(self) -> dict[str, Any]:
        """The normalised request: equal requests give equal objects, by which sites' answers are compared."""
        return {
            "grid": list(self.grid),
            "time_column": self.time_column,
            "event_column": self.event_column,
            "variables": [{"name": v.name, "edges": list(v.edges)} for v in self.variables],
            "min_cell": self.min_cell,
        }


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises :class:`Fault` naming the parameter that is wrong."""
    given = read_object(path, "parameters")
    if unknown := sorted(given.keys() - KNOWN):
        raise Fault(f"parameters: unknown {', '.join(unknown)}; known are {', '.join(sorted(KNOWN))}")
    return Request(
        grid=_grid(given.get("time_grid")),
        time_column=_column(given.get("time_column", "time"), "time_column"),
        event_column=_column(given.get("event_column", "event"), "event_column"),
        variables=_variables(given.get("variables", [])),
        min_cell=_min_cell(given.get("min_cell", 10)),
        secure_sums=_secure_sums(given.get("secure_sums", False)),
    )


def _grid(value: Any) -> tuple[float, ...]:
    if isinstance(value, dict) and value.keys() == {"points"}:
        return _rising(value["points"], "time_grid.points", above=0.0)
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


def _variables(value: Any) -> tuple[Variable, ...]:
    if not isinstance(value, list) or len(value) > 100:
        raise Fault("parameters: variables: must be a list of at most 100 objects {name, edges?}")
    variables = tuple(_variable(entry) for entry in value)
    if len({variable.name for variable in variables}) < len(variables):
        raise Fault("parameters: variables: a name stands there twice")
    return variables


def _variable(entry: Any) -> Variable:
    if not isinstance(entry, dict) or not entry.keys() <= {"name", "edges"}:
        raise Fault("parameters: variables: each must be an object {name, edges?}")
    name = _column(entry.get("name"), "variables.name")
    edges = entry.get("edges", [])
    return Variable(name, _rising(edges, f"variables.{name}.edges") if edges else ())


def _rising(value: Any, where: str, above: float = -math.inf) -> tuple[float, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_POINTS:
        raise Fault(f"parameters: {where}: must be a list of 1 to {MOST_POINTS} numbers")
    numbers = tuple(_number(entry, where) for entry in value)
    if numbers[0] <= above or any(a >= b for a, b in pairwise(numbers)):
        raise Fault(f"parameters: {where}: the numbers must rise" + (f" from above {above:g}" if above == 0 else ""))
    return numbers


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Fault(f"parameters: {where}: must be a finite number")
    return float(value)


def _column(value: Any, where: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 100:
        raise Fault(f"parameters: {where}: must be the name of a column")
    return value


def _min_cell(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not LEAST_MIN_CELL <= value <= 10_000:
        raise Fault(f"parameters: min_cell: must be a whole number from {LEAST_MIN_CELL} to 10000")
    return value


def _secure_sums(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Fault("parameters: secure_sums: must be true or false")
    return value
