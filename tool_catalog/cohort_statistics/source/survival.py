"""The Kaplan-Meier estimate on a grid, with Greenwood's variance.

Within a bin all events come before all censorings, as is the rule for equal times: the curve is that of the
same persons with every time moved to the end of its bin (E. L. Kaplan and P. Meier, JASA 53 (1958) 457-481).
On a coarse grid that is too high, since whoever is censored in a bin counts as at risk for all of it. Beside it
stands the life-table estimate, for which such persons count half (S. J. Cutler and F. Ederer, J Chron Dis 8 (1958)
699-712): where the two differ much, the grid is too coarse for the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

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
    and are None where the estimate is 0 or 1, for which it is not defined. ``life_table`` is the other estimate.
    """

    bin: Bin
    survival: float
    variance: float
    lower: float | None
    upper: float | None
    life_table: float


def kaplan_meier(bins: Iterable[Bin]) -> list[Point]:
    """One point per bin; the bins must rise in time."""
    points, survival, hazard_variance, life_table = [], 1.0, 0.0, 1.0
    for entry in bins:
        if entry.events:
            survivors = entry.at_risk - entry.events
            survival *= survivors / entry.at_risk
            hazard_variance += entry.events / (entry.at_risk * survivors) if survivors else 0.0
            life_table *= 1 - entry.events / (entry.at_risk - entry.censored / 2)
        points.append(_point(entry, survival, hazard_variance, life_table))
    return points


def median(points: Iterable[Point]) -> float | None:
    """The first grid time at which the estimate is at most one half; None if it never is."""
    return next((point.bin.time for point in points if point.survival <= 0.5), None)


def _point(entry: Bin, survival: float, hazard_variance: float, life_table: float) -> Point:
    if not 0 < survival < 1:
        return Point(entry, survival, 0.0, None, None, life_table)
    spread = Z95 * math.sqrt(hazard_variance) / -math.log(survival)
    lower, upper = survival ** math.exp(spread), survival ** math.exp(-spread)
    return Point(entry, survival, survival**2 * hazard_variance, lower, upper, life_table)
