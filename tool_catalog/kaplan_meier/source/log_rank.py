"""The log-rank test of several groups, stratified by host, of the exact times.

N. Mantel, Cancer Chemother Rep 50 (1966) 163-170. Each host tells by how many its events exceed those expected if all
groups had the same hazard, with the variance of that; both add up over hosts. No time and no count of events leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Excess:
    """By group, ``events`` more than expected; and their ``variance``, groups by groups."""

    events: Array
    variance: Array

    @staticmethod
    def of(times: Array, events: Array, members: npt.NDArray[np.bool_]) -> Excess:
        """Of the rows of one host; ``members`` says by group (rows by groups) who is in it."""
        counts = members.astype(float)
        excess, variance = np.zeros(counts.shape[1]), np.zeros((counts.shape[1],) * 2)
        for time in np.unique(times[events > 0]):
            risk = counts[times >= time].sum(axis=0)
            happened = counts[(times == time) & (events > 0)].sum(axis=0)
            n, d = risk.sum(), happened.sum()
            share = risk / n
            excess += happened - d * share
            variance += d * (n - d) / max(n - 1, 1) * (np.diag(share) - np.outer(share, share))
        return Excess(excess, variance)


@dataclass(frozen=True)
class LogRank:
    """The chi-squared statistic of the hypothesis that all groups of a host have the same hazard."""

    value: float
    df: int
    p_value: float
    hosts: tuple[str, ...]


def log_rank(parts: dict[str, Excess]) -> LogRank | None:
    """The test of what hosts told, by host; None where it says nothing."""
    if not parts:
        return None
    events = sum(part.events for part in parts.values())
    variance = sum(part.variance for part in parts.values())
    df = int(np.linalg.matrix_rank(variance, tol=1e-9 * max(1.0, float(np.trace(variance)))))
    if not df:
        return None
    value = float(events @ np.linalg.pinv(variance, rcond=1e-9) @ events)
    return LogRank(value, df, float(chi2.sf(value, df)), tuple(parts))
