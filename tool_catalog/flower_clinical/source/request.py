"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from private_averaging.asked import NAMES, Bounded, protection
from regression.faults import Fault
from regression.formula import Formula, parse
from regression.jsonfile import check_known, choice, read_object, text, whole

WHOLE = {  # usual, lowest, highest
    "min_cell": (10, 5, 10_000),
    "rounds": (20, 1, 1000),
    "local_steps": (10, 1, 10_000),
    "join_seconds": (120, 1, 3600),
    "round_seconds": (60, 1, 3600),
}
RATE = (1e-6, 1.0)


@dataclass(frozen=True, kw_only=True)
class Request(Bounded):
    """How to train. The rate is per step on standardised columns; seconds are wall-clock.

    No ``table`` is the dataset's only one.
    """

    formula: Formula
    table: str
    learning_rate: float
    min_cell: int
    rounds: int
    local_steps: int
    join_seconds: int
    round_seconds: int

    @property
    def steps(self) -> int:
        """In each gradient step, and once a round."""
        return self.rounds * (self.local_steps + 1)


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises Fault naming the parameter that is wrong."""
    given = read_object(path, "parameters")
    check_known(given, ("formula", "table", "missing", "learning_rate", *WHOLE, *NAMES))
    formula = parse(text(given, "formula", longest=2000))
    if not formula.intercept:
        raise Fault("parameters: formula: it must have an intercept, as columns are standardised")
    request = Request(
        formula=formula,
        table=text(given, "table", ""),
        missing=choice(given, "missing", ("refuse", "leave_out")),
        learning_rate=_rate(given),
        **{name: whole(given, name, *bounds) for name, bounds in WHOLE.items()},
        **protection(given),
    )
    request.check()
    return request


def _rate(given: dict[str, Any]) -> float:
    value, (low, high) = given.get("learning_rate", 0.1), RATE
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Fault(f"parameters: learning_rate: must be a number from {low:g} to {high:g}")
    return float(value)
