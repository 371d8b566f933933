"""The parameters that protect persons, read and checked at every task again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from averaging.faults import Fault

MOST_STEPS = 100_000
LIMITS: dict[str, tuple[float, float]] = {"epsilon": (0.01, 100.0), "delta": (1e-12, 0.01), "clip": (1e-6, 1000.0)}
BOTH = ("epsilon", "delta")


@dataclass(frozen=True, kw_only=True)
class Protection:
    """A part of a tool's request; without ``epsilon`` there is no differential privacy.

    ``clip`` is the length of a person's gradient at most.
    """

    epsilon: float | None = None
    delta: float | None = None
    clip: float = 1.0
    secure_aggregation: bool = False

    @property
    def steps(self) -> int:
        """How often the persons that are trained on are asked with differential privacy."""
        raise NotImplementedError

    def check(self) -> None:
        """Half of it would be none: without its other parts nothing is claimed. Raises :class:`Fault`."""
        if (self.epsilon is None) != (self.delta is None):
            raise Fault("parameters: epsilon and delta: differential privacy needs both")
        if self.epsilon is not None and self.steps > MOST_STEPS:
            raise Fault(f"parameters: rounds: with epsilon at most {MOST_STEPS} steps are accounted for")


@dataclass(frozen=True, kw_only=True)
class Bounded(Protection):
    """Of a tool over tables. ``bounds`` are the lowest and highest values of columns, known without the data."""

    missing: str = "refuse"
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def check(self) -> None:
        super().check()
        if self.bounds and self.epsilon is None and not self.secure_aggregation:
            raise Fault("parameters: bounds: they belong to epsilon and delta, or to secure_aggregation: ask for one")
        if self.epsilon is not None and self.missing != "refuse":
            raise Fault("parameters: missing: with epsilon no rows can be left out, as their number would tell of them")


NAMES = ("epsilon", "delta", "clip", "bounds", "secure_aggregation")


def protection(given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of :data:`NAMES` that are given, checked one by one. Raises :class:`Fault`."""
    found = {name: given[name] for name in NAMES if name in given}
    for name in LIMITS.keys() & found.keys():
        _check_number(name, found[name])
    if not isinstance(found.get("secure_aggregation", False), bool):
        raise Fault("parameters: secure_aggregation: must be true or false")
    bounds = found.get("bounds", {})
    if not isinstance(bounds, dict) or not all(_is_name(name) and _is_range(ends) for name, ends in bounds.items()):
        raise Fault("parameters: bounds: must be an object with [lowest, highest] by name of a column")
    return found | {"bounds": {name: (float(low), float(high)) for name, (low, high) in bounds.items()}}


def _check_number(name: str, value: Any) -> None:
    low, high = LIMITS[name]
    if not (_is_number(value) and low <= value <= high) and not (value is None and name in BOTH):
        raise Fault(f"parameters: {name}: must be a number from {low:g} to {high:g}")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 200


def _is_range(value: Any) -> bool:
    numbers = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    return numbers and bool(value[0] < value[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
