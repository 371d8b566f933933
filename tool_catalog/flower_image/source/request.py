"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from averaging.faults import Fault


@dataclass(frozen=True)
class Request:
    """How to train; ``size`` is in pixels and even, seconds are wall-clock, one person in ``every`` is held out."""

    size: int = 32
    rounds: int = 5
    local_epochs: int = 2
    batch: int = 16
    learning_rate: float = 0.001
    every: int = 4
    min_persons: int = 5
    seed: int = 42
    join_seconds: int = 120
    round_seconds: int = 300


BOUNDS: dict[str, tuple[float, float]] = {
    "size": (8, 224),
    "rounds": (1, 1000),
    "local_epochs": (1, 100),
    "batch": (2, 256),
    "learning_rate": (1e-6, 1.0),
    "every": (2, 10),
    "min_persons": (5, 10_000),
    "seed": (0, 2**31),
    "join_seconds": (1, 3600),
    "round_seconds": (1, 3600),
}


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises :class:`Fault` naming the parameter that is wrong."""
    given = read_object(path, "parameters")
    known = {field.name for field in fields(Request)}
    if unknown := sorted(given.keys() - known):
        raise Fault(f"parameters: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    for name, value in given.items():
        _check(name, value)
    request = Request(**given)
    if request.size % 2:
        raise Fault("parameters: size: must be even")
    return request


def expected_hosts(path: Path, task: str) -> list[str]:
    """The hosts that run ``task`` in this experiment, from the file of hosts by task. Raises :class:`Fault`."""
    hosts = read_object(path, "hosts").get(task)
    if not isinstance(hosts, list) or not hosts or not all(isinstance(host, str) for host in hosts):
        raise Fault(f"hosts: no hosts are listed for the task {task!r}")
    return sorted(hosts)


def read_object(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in ``path``; ``what`` names the file in messages. Raises :class:`Fault`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise Fault(f"{what}: cannot read {path.name}: {fault.strerror}") from fault
    except (ValueError, RecursionError) as fault:
        raise Fault(f"{what}: {path.name} is not JSON") from fault
    if not isinstance(found, dict):
        raise Fault(f"{what}: must be a JSON object")
    return found


def _check(name: str, value: Any) -> None:
    low, high = BOUNDS[name]
    whole = isinstance(getattr(Request, name), int)
    right_kind = isinstance(value, int) or (isinstance(value, float) and not whole)
    if isinstance(value, bool) or not right_kind or not low <= value <= high:
        kind = "whole number" if whole else "number"
        raise Fault(f"parameters: {name}: must be a {kind} from {low:g} to {high:g}")
