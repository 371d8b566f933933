"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from averaging.faults import Fault
from private_averaging.asked import NAMES, Bounded, protection


@dataclass(frozen=True)
class Request(Bounded):
    """How to train. Rates are per step on standardised features; seconds are wall-clock.

    No ``features`` are all columns of numbers.
    """

    target: str = "malignant"
    features: tuple[str, ...] = ()
    rounds: int = 5
    local_steps: int = 10
    learning_rate: float = 0.1
    l2: float = 0.001
    join_seconds: int = 120
    round_seconds: int = 60

    @property
    def steps(self) -> int:
        """In each gradient step, and once a round."""
        return self.rounds * (self.local_steps + 1)


BOUNDS: dict[str, tuple[float, float]] = {
    "rounds": (1, 1000),
    "local_steps": (1, 10_000),
    "learning_rate": (1e-6, 10.0),
    "l2": (0.0, 10.0),
    "join_seconds": (1, 3600),
    "round_seconds": (1, 3600),
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
        if name not in NAMES:
            _check(name, value)
    request = Request(**{**given, **protection(given), "features": tuple(given.get("features", ()))})
    request.check()
    return request


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


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 200


TEXTS = {"target": _check_target, "features": _check_features, "missing": _check_missing}


def _check(name: str, value: Any) -> None:
    if name in TEXTS:
        TEXTS[name](value)
        return
    low, high = BOUNDS[name]
    whole = isinstance(getattr(Request, name), int)
    right_kind = isinstance(value, int) or (isinstance(value, float) and not whole)
    if isinstance(value, bool) or not right_kind or not low <= value <= high:
        kind = "whole number" if whole else "number"
        raise Fault(f"parameters: {name}: must be a {kind} from {low:g} to {high:g}")
