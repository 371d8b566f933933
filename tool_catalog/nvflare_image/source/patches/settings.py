"""Parameters of tool.yaml and the experiment's hosts, read and checked at every task again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from .faults import Fault

Bounds = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Settings:
    """What all of these trainings are asked for; ``size`` is in pixels and even, one person in ``every`` is held out.

    ``batch`` is in patches, ``learning_rate`` is Adam's.
    """

    size: int = 32
    rounds: int = 5
    batch: int = 16
    learning_rate: float = 0.001
    every: int = 4
    min_persons: int = 5
    seed: int = 42
    join_seconds: int = 120


BOUNDS: dict[str, tuple[float, float]] = {
    "size": (8, 224),
    "rounds": (1, 1000),
    "batch": (2, 256),
    "learning_rate": (1e-6, 1.0),
    "every": (2, 10),
    "min_persons": (5, 10_000),
    "seed": (0, 2**31),
    "join_seconds": (1, 3600),
}
Made = TypeVar("Made", bound=Settings)


def read_settings(path: Path, kind: type[Made], bounds: Bounds) -> Made:
    """The parameters file as ``kind``, each number within its bounds; raises :class:`Fault` naming what is wrong."""
    given = read_object(path, "parameters")
    known = {field.name for field in fields(kind)}
    if unknown := sorted(given.keys() - known):
        raise Fault(f"parameters: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    for name, value in given.items():
        _check(name, value, getattr(kind, name), *bounds.get(name, (0, 1)))
    settings = kind(**given)
    if settings.size % 2:
        raise Fault("parameters: size: must be even")
    return settings


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


def _check(name: str, value: Any, usual: Any, low: float, high: float) -> None:
    if isinstance(usual, bool):
        if not isinstance(value, bool):
            raise Fault(f"parameters: {name}: must be true or false")
        return
    whole = isinstance(usual, int)
    right_kind = isinstance(value, int) or (isinstance(value, float) and not whole)
    if isinstance(value, bool) or not right_kind or not low <= value <= high:
        kind = "whole number" if whole else "number"
        raise Fault(f"parameters: {name}: must be a {kind} from {low:g} to {high:g}")
