"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from averaging.faults import Fault


@dataclass(frozen=True)
class Request:
    """How to train. Rates are per step on standardised features; seconds are wall-clock.

    No ``features`` are all columns of numbers.
    """

    target: str = "malignant"
    features: tuple[str, ...] = ()
    missing: str = "refuse"
    rounds: int = 5
    local_steps: int = 10
    learning_rate: float = 0.1
    l2: float = 0.001
    join_seconds: int = 120
    round_seconds: int = 60
    epsilon: float | None = None
    delta: float | None = None
    clip: float = 1.0
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    secure_aggregation: bool = False

    @property
    def steps(self) -> int:
        """How often the training rows are asked with differential privacy: in each gradient step, and once a round."""
        return self.rounds * (self.local_steps + 1)


BOUNDS: dict[str, tuple[float, float]] = {
    "rounds": (1, 1000),
    "local_steps": (1, 10_000),
    "learning_rate": (1e-6, 10.0),
    "l2": (0.0, 10.0),
    "join_seconds": (1, 3600),
    "round_seconds": (1, 3600),
    "epsilon": (0.01, 100.0),
    "delta": (1e-12, 0.01),
    "clip": (1e-6, 1000.0),
}


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises :class:`Fault` naming the parameter that is wrong."""
    given = read_json(path, "parameters")
    if not isinstance(given, dict):
        raise Fault("parameters: must be a JSON object")
    known = {each.name for each in fields(Request)}
    if unknown := sorted(given.keys() - known):
        raise Fault(f"parameters: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    for name, value in given.items():
        _check(name, value)
    ends = {name: (float(low), float(high)) for name, (low, high) in given.get("bounds", {}).items()}
    request = Request(**{**given, "features": tuple(given.get("features", ())), "bounds": ends})
    _check_privacy(request)
    return request


def _check_privacy(request: Request) -> None:
    """Half of it would be none: without its other parts nothing is claimed."""
    if (request.epsilon is None) != (request.delta is None):
        raise Fault("parameters: epsilon and delta: differential privacy needs both")
    if request.epsilon is None:
        if request.bounds and not request.secure_aggregation:
            raise Fault("parameters: bounds: they belong to epsilon and delta, or to secure_aggregation: ask for one")
        return
    if request.missing != "refuse":
        raise Fault("parameters: missing: with epsilon no rows can be left out, as their number would tell of them")
    if request.steps > MOST_STEPS:
        raise Fault(f"parameters: rounds times local_steps: with epsilon at most {MOST_STEPS} steps are accounted for")


def read_json(path: Path, what: str) -> Any:
    """The JSON value in ``path``; ``what`` names the file in messages. Raises :class:`Fault`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise Fault(f"{what}: cannot read {path.name}: {fault.strerror}") from fault
    except (ValueError, RecursionError) as fault:
        raise Fault(f"{what}: {path.name} is not JSON") from fault


def expected_hosts(path: Path, task: str) -> list[str]:
    """The hosts that run ``task`` in this experiment, from the file of hosts by task. Raises :class:`Fault`."""
    by_task = read_json(path, "hosts")
    hosts = by_task.get(task) if isinstance(by_task, dict) else None
    if not isinstance(hosts, list) or not hosts or not all(isinstance(host, str) for host in hosts):
        raise Fault(f"hosts: no hosts are listed for the task {task!r}")
    return sorted(hosts)


def _check_target(value: Any) -> None:
    if not _is_name(value):
        raise Fault("parameters: target: must be the name of a column")


def _check_features(value: Any) -> None:
    if not isinstance(value, list) or not all(map(_is_name, value)) or len(set(value)) < len(value):
        raise Fault("parameters: features: must be a list of names of columns, each once")


def _check_missing(value: Any) -> None:
    if value not in {"refuse", "leave_out"}:
        raise Fault("parameters: missing: must be refuse or leave_out")


def _check_secure(value: Any) -> None:
    if not isinstance(value, bool):
        raise Fault("parameters: secure_aggregation: must be true or false")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 200


def _check_bounds(value: Any) -> None:
    fit = isinstance(value, dict) and all(_is_name(name) and _is_range(ends) for name, ends in value.items())
    if not fit:
        raise Fault("parameters: bounds: must be an object with [lowest, highest] by name of a column")


def _is_range(value: Any) -> bool:
    numbers = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    return numbers and bool(value[0] < value[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


MOST_STEPS = 100_000
TEXTS = {
    "target": _check_target,
    "features": _check_features,
    "missing": _check_missing,
    "bounds": _check_bounds,
    "secure_aggregation": _check_secure,
}


def _check(name: str, value: Any) -> None:
    if name in TEXTS:
        TEXTS[name](value)
        return
    low, high = BOUNDS[name]
    if value is None and name in ("epsilon", "delta"):
        return
    whole = isinstance(getattr(Request, name), int)
    right_kind = isinstance(value, int) or (isinstance(value, float) and not whole)
    if isinstance(value, bool) or not right_kind or not low <= value <= high:
        kind = "whole number" if whole else "number"
        raise Fault(f"parameters: {name}: must be a {kind} from {low:g} to {high:g}")
