"""The life-table estimate of survival, and how far the Kaplan-Meier estimate of the exact times can be from it.

Sites send counts per bin of time, never a time. Who is censored in a bin counts as at risk for half of it (actuarial
assumption; S. J. Cutler and F. Ederer, J Chron Dis 8 (1958) 699-712); the variance is Greenwood's with the same
persons. The Kaplan-Meier estimate (E. L. Kaplan and P. Meier, JASA 53 (1958) 457-481) depends on the order of events
and censorings within a bin. It is highest if all censorings come after the events, lowest if all come before them, and
between these two for every other order: at the end of each bin the exact estimate lies between two known numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

METHOD = {
    "estimator": "life table (actuarial; Cutler and Ederer 1958): persons censored in a bin are at risk for half of it",
    "variance": "Greenwood, with the life table's persons at risk",
    "interval": "95 %, log(-log)",
    "exact": "the Kaplan-Meier estimate of the exact times lies between exact_lowest and exact_highest at each time",
    "median": "linear within its bin; the Kaplan-Meier median of the exact times is above exact_above, at most "
    "exact_at_most",
}
"""said in every result"""

Z95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Bin:
    """Persons of all sites in one bin that ends at ``time``."""

    time: float
    at_risk: int
    events: int
    censored: int


@dataclass(frozen=True)
class Point:
    """The estimate at the end of one bin.

    ``variance`` is Greenwood's; ``lower`` and ``upper`` bound the 95 % interval by the log(-log) transformation,
    and are None where the estimate is 0 or 1, for which it is not defined. ``lowest`` and ``highest`` bound the
    Kaplan-Meier estimate of the exact times.
    """

    bin: Bin
    survival: float
    variance: float
    lower: float | None
    upper: float | None
    lowest: float
    highest: float

    @property
    def distance(self) -> float:
        """How far the Kaplan-Meier estimate of the exact times can be from ``survival``."""
        return max(self.highest - self.survival, self.survival - self.lowest)


@dataclass(frozen=True)
class Median:
    """The time at which half survive; None where the curve does not come down to a half."""

    estimate: float | None
    exact_above: float
    exact_at_most: float | None


def life_table(bins: Iterable[Bin]) -> list[Point]:
    """One point per bin; the bins must rise in time."""
    points: list[Point] = []
    survival, lowest, highest, hazard_variance = 1.0, 1.0, 1.0, 0.0
    for entry in bins:
        if entry.events:
            at_risk = entry.at_risk - entry.censored / 2
            survival *= _share(entry, at_risk)
            lowest *= _share(entry, entry.at_risk - entry.censored)
            highest *= _share(entry, entry.at_risk)
            survivors = at_risk - entry.events
            hazard_variance += entry.events / (at_risk * survivors) if survivors > 0 else 0.0
        points.append(Point(entry, survival, *_spread(survival, hazard_variance), lowest, highest))
    return points


def median(points: Sequence[Point]) -> Median:
    """By the life table; and between which times the exact one lies."""
    before = [(0.0, 1.0), *((point.bin.time, point.survival) for point in points)]
    estimate = next(
        (
            start + (end - start) * (above - 0.5) / (above - below)
            for (start, above), (end, below) in pairwise(before)
            if below <= 0.5
        ),
        None,
    )
    above = max((point.bin.time for point in points if point.lowest > 0.5), default=0.0)
    return Median(estimate, above, next((point.bin.time for point in points if point.highest <= 0.5), None))


def _share(entry: Bin, at_risk: float) -> float:
    return max(0.0, 1 - entry.events / at_risk)


def _spread(survival: float, hazard_variance: float) -> tuple[float, float | None, float | None]:
    if not 0 < survival < 1:
        return 0.0, None, None
    spread = Z95 * math.sqrt(hazard_variance) / -math.log(survival)
    return survival**2 * hazard_variance, survival ** math.exp(spread), survival ** math.exp(-spread)
