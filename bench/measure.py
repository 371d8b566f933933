"""Measuring side by side: warm, interleaved, medians with their spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Act = Callable[[], object]


@dataclass(frozen=True)
class Sample:
    """What was measured, in the order in which it was."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The first quartile."""
        return self._quartiles()[0]

    @property
    def high(self) -> float:
        """The third quartile."""
        return self._quartiles()[2]

    def _quartiles(self) -> list[float]:
        if len(self.values) == 1:
            return [self.values[0]] * 3
        return statistics.quantiles(self.values, n=4, method="inclusive")

    def over(self, other: Sample) -> Sample:
        """The ratios, round by round: what disturbed a round disturbed both sides of it."""
        return Sample(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))

    def times(self, factor: float) -> Sample:
        """The same in another unit."""
        return Sample(tuple(value * factor for value in self.values))


def seconds_of(act: Act) -> float:
    """How long it takes, by the monotonic clock."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def side_by_side(rounds: int, *acts: Act, warm: int = 1) -> tuple[Sample, ...]:
    """Seconds of each act, in ``rounds`` rounds that take every act once, each time another one first."""
    for _ in range(warm):
        for act in acts:
            act()
    taken: list[list[float]] = [[] for _ in acts]
    for number in range(rounds):
        for index in sorted(range(len(acts)), key=lambda index: (index + number) % len(acts)):
            taken[index].append(seconds_of(acts[index]))
    return tuple(Sample(tuple(values)) for values in taken)
