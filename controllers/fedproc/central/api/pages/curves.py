"""Curves that stand: what ``curves.js`` draws as it happens, as SVG for a file that has no script. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10
from typing import Any

WIDTH, HEIGHT = 460, 240
LEFT, BOTTOM = 64, 26
COLOURS = ("#1f7fb0", "#c0384b", "#2a8a4f", "#a8760a", "#7a4fb5", "#35a0a8", "#8a5a3b", "#666e76")
"""as in curves.js"""
_STEPS = 6
"""between two ends, at most"""


@dataclass(frozen=True)
class Point:
    """What one job said at one moment, ``time`` in seconds since 1970."""

    task: str
    host: str
    time: float
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One host's, with its ``path`` in units of the picture, and its (x, y) as they were said."""

    label: str
    colour: str
    path: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """One measure; ``x`` says what its abscissa is. Ticks are (place, words)."""

    name: str
    unit: str
    x: str
    lines: tuple[Line, ...]
    xs: tuple[tuple[float, str], ...]
    ys: tuple[tuple[float, str], ...]
    note: str = ""
    """says it where not every round is drawn"""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    bottom: int = BOTTOM


def charts(points: Iterable[Point], declared: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Chart]:
    """One for each declared measure of which something was said, by round where the task counts rounds."""
    found: dict[str, dict[str, dict[float, float]]] = {}
    axes: dict[str, tuple[str, str]] = {}
    first: float | None = None
    for point in points:
        first = point.time if first is None else first
        metrics = declared.get(point.task, ())
        by_round = any(metric["name"] == "round" for metric in metrics)
        at = point.values.get("round") if by_round else point.time - first
        line = f"{point.host} {point.task}" if len(declared) > 1 else point.host
        for metric in metrics:
            name, value = str(metric["name"]), point.values.get(str(metric["name"]))
            if name == "round" or not _is_number(value) or not _is_number(at):
                continue
            axes.setdefault(name, (str(metric.get("unit") or ""), "round" if by_round else "seconds"))
            found.setdefault(name, {}).setdefault(line, {})[float(at)] = float(value)  # type: ignore[arg-type]
    return [_chart(name, *axes[name], lines) for name, lines in found.items()]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _chart(name: str, unit: str, x: str, lines: Mapping[str, Mapping[float, float]]) -> Chart:
    across = _Scale([at for line in lines.values() for at in line], LEFT, WIDTH - 8, is_whole=x == "round")
    up = _Scale([value for line in lines.values() for value in line.values()], HEIGHT - BOTTOM, 8)
    drawn = []
    for number, (label, line) in enumerate(lines.items()):
        points = tuple(sorted(line.items()))
        path = " ".join(f"{across.of(at):.1f},{up.of(value):.1f}" for at, value in points)
        drawn.append(Line(label, COLOURS[number % len(COLOURS)], path, points))
    note = thinned({at for line in lines.values() for at in line}) if x == "round" else ""
    return Chart(name, unit, x, tuple(drawn), across.ticks(), up.ticks(), note)


def thinned(rounds: Collection[float]) -> str:
    """How many of the rounds between the first and the last are there; empty if all are."""
    everything = floor(max(rounds) - min(rounds)) + 1
    if len(rounds) >= everything:
        return ""
    nth = round(everything / len(rounds))
    share = f", about one in {nth}" if nth > 1 else ""
    return (
        f"{len(rounds)} of {everything} rounds are shown{share}: a tool may measure fewer, and a site lets only so many"
        " leave in a minute. The last is among them."
    )


class _Scale:
    """From values to places; one value alone lies in the middle."""

    def __init__(self, values: Sequence[float], begin: float, end: float, *, is_whole: bool = False) -> None:
        self._is_whole = is_whole
        self._low, self._high = min(values), max(values)
        self._begin, self._end = begin, end

    def of(self, value: float) -> float:
        span = self._high - self._low
        share = (value - self._low) / span if span else 0.5
        return self._begin + share * (self._end - self._begin)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """At round numbers, each with other words; no half of a round."""
        span = self._high - self._low
        step = _round_step(span / _STEPS)
        if self._is_whole:
            step = max(1.0, step)
        first, last = ceil(self._low / step - 1e-9), floor(self._high / step + 1e-9)
        values = [number * step for number in range(first, last + 1)] if span else [self._low]
        ticks = [(self.of(value), f"{value:.6g}") for value in values]
        return tuple(ticks[:1] + [later for before, later in pairwise(ticks) if before[1] != later[1]])


def _round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is no less."""
    if not least > 0:
        return 1.0
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
