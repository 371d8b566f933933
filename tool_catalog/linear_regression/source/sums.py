"""Sums over rows from which a linear regression follows, kept as means and sums of products of deviations from them.

Plain sums of products lose the digits that a mean far from 0 takes; deviations do not (T. F. Chan, G. H. Golub,
R. J. LeVeque, The American Statistician 37 (1983) 242-247).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """``n`` rows of the model's columns and, last, the outcome: their ``means``, and by pair of columns the sum of
    the ``products`` of deviations from them."""

    n: int
    means: Array
    products: Array

    @staticmethod
    def of(rows: Array) -> Sums:
        means = np.array([math.fsum(column) / len(rows) for column in rows.T])
        deviations = rows - means
        products = deviations.T @ deviations
        return Sums(len(rows), means, (products + products.T) / 2)

    def __add__(self, other: Sums) -> Sums:
        """Those of both groups' rows."""
        n = self.n + other.n
        gap = other.means - self.means
        shift = np.outer(gap, gap) * (self.n * other.n / n)
        return Sums(n, self.means + gap * other.n / n, self.products + other.products + shift)

    def about(self, point: float | None) -> Array:
        """The sums of products of deviations from the means, or (0) of the values themselves."""
        if point is None:
            return self.products
        return self.products + self.n * np.outer(self.means, self.means)
