"""Cox's partial likelihood of one host's rows, with Efron's way of handling ties.

D. R. Cox, J R Stat Soc B 34 (1972) 187-220; B. Efron, J Am Stat Assoc 72 (1977) 557-565. With each host as a stratum of
its own, the likelihoods of hosts multiply: risk sets are those of the host, and no time has to leave it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rounds.evaluation import Evaluation

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cohort:
    """Rows in order of falling time. ``groups`` are the ends of runs of equal times."""

    rows: Array
    events: npt.NDArray[np.bool_]
    groups: tuple[int, ...]

    @staticmethod
    def of(rows: Array, times: Array, events: Array) -> Cohort:
        order = np.argsort(-times, kind="stable")
        falling = times[order]
        ends = np.flatnonzero(np.diff(falling)) + 1
        return Cohort(rows[order], events[order] > 0, (*ends.tolist(), len(times)))


@dataclass
class _Sums:
    """Over persons: of their weights, of weights times terms, and of weights times products of terms."""

    weights: float
    terms: Array
    products: Array

    @staticmethod
    def of(rows: Array, weights: Array) -> _Sums:
        weighted = rows * weights[:, None]
        return _Sums(float(weights.sum()), weighted.sum(axis=0), rows.T @ weighted)

    def add(self, other: _Sums) -> None:
        self.weights += other.weights
        self.terms = self.terms + other.terms
        self.products = self.products + other.products


def partial_likelihood(cohort: Cohort, rows: Array, coefficients: Array) -> Evaluation:
    """The log partial likelihood at ``coefficients`` of ``rows``, which are the cohort's at some scale."""
    margin = rows @ coefficients
    margin = margin - margin.max()
    weights = np.exp(margin)
    size = rows.shape[1]
    total = Evaluation(0.0, np.zeros(size), np.zeros((size, size)))
    at_risk = _Sums(0.0, np.zeros(size), np.zeros((size, size)))
    for start, end in _spans(cohort):
        at_risk.add(_Sums.of(rows[start:end], weights[start:end]))
        died = np.flatnonzero(cohort.events[start:end]) + start
        if len(died):
            total += _tied(at_risk, rows[died], weights[died], margin[died])
    return total


def _spans(cohort: Cohort) -> Iterator[tuple[int, int]]:
    return zip((0, *cohort.groups[:-1]), cohort.groups, strict=True)


def _tied(at_risk: _Sums, rows: Array, weights: Array, margins: Array) -> Evaluation:
    """The events of one time: the risk set loses, one after the other, an equal share of those who had the event."""
    died = _Sums.of(rows, weights)
    shares = np.arange(len(rows)) / len(rows)
    masses = at_risk.weights - shares * died.weights
    means = (at_risk.terms - shares[:, None] * died.terms) / masses[:, None]
    products = (1 / masses).sum() * at_risk.products - (shares / masses).sum() * died.products
    return Evaluation(
        float(margins.sum() - np.log(masses).sum()),
        rows.sum(axis=0) - means.sum(axis=0),
        products - means.T @ means,
    )
