"""The figures, and how they are written down: ``table.md`` and ``results.json``."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.measure import Sample

RATIO = ""
_SAME = "-"


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``target`` is a bound from above if ``at_most``, else from below."""

    name: str
    what: str
    value: Sample
    target: float
    at_most: bool
    unit: str = RATIO
    sides: Mapping[str, tuple[Sample, str]] = field(default_factory=dict)
    """what was measured, each with its unit"""

    @property
    def reached(self) -> bool:
        """Whether the median is on the right side of the target."""
        return self.value.median <= self.target if self.at_most else self.value.median >= self.target


@dataclass(frozen=True)
class Missing:
    """A figure that could not be measured here, and why."""

    name: str
    why: str


Result = Figure | Missing


def write(results: Sequence[Result], folder: Path, *, quick: bool, seconds: float) -> str:
    """Write both files into ``folder``; returns the table."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "quick": quick,
        "seconds": round(seconds),
    }
    table = _table(results, machine)
    (folder / "table.md").write_text(table)
    content = {"machine": machine, "figures": [_plain(result) for result in results]}
    (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    return table


def _table(results: Sequence[Result], machine: Mapping[str, Any]) -> str:
    head = (
        f"Measured {machine['when']} in {machine['seconds']} s on {machine['cpus']} CPUs (load {machine['load'][0]} at "
        f"the end), Python {machine['python']}{', quick' if machine['quick'] else ''}. Medians; in brackets the first "
        "and third quartile.\n\n| what | measured | to reach | | sides |\n|---|---|---|---|---|\n"
    )
    return head + "".join(_line(result) for result in results)


def _line(result: Result) -> str:
    if isinstance(result, Missing):
        return f"| {result.name} | {_SAME} | {_SAME} | not measured | {result.why} |\n"
    sides = "; ".join(f"{name} {_spread(sample, unit)}" for name, (sample, unit) in result.sides.items())
    target = f"{'≤' if result.at_most else '≥'} {_number(result.target)}{_unit(result.unit)}"
    verdict = "reached" if result.reached else "**not reached**"
    return f"| {result.what} | {_spread(result.value, result.unit)} | {target} | {verdict} | {sides or _SAME} |\n"


def _spread(sample: Sample, unit: str) -> str:
    if len(sample.values) == 1:
        return f"{_number(sample.median)}{_unit(unit)}"
    return f"{_number(sample.median)}{_unit(unit)} ({_number(sample.low)} to {_number(sample.high)})"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _plain(result: Result) -> dict[str, Any]:
    if isinstance(result, Missing):
        return {"name": result.name, "missing": result.why}
    return {
        "name": result.name,
        "what": result.what,
        "unit": result.unit,
        "target": result.target,
        "at_most": result.at_most,
        "reached": result.reached,
        "value": _values(result.value),
        "sides": {name: {"unit": unit, **_values(sample)} for name, (sample, unit) in result.sides.items()},
    }


def _values(sample: Sample) -> dict[str, Any]:
    spread = {"median": sample.median, "low": sample.low, "high": sample.high}
    return {name: round(value, 6) for name, value in spread.items()} | {
        "values": [round(value, 6) for value in sample.values]
    }
