"""Means and spreads of columns, as they add up over hosts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Number of rows, and by column their mean and sum of squared deviations from it."""

    n: int
    mean: Array
    m2: Array

    @staticmethod
    def of(rows: Array) -> Moments:
        mean = rows.mean(axis=0)
        return Moments(len(rows), mean, ((rows - mean) ** 2).sum(axis=0))

    def __add__(self, other: Moments) -> Moments:
        """The moments of both groups' rows, without ever subtracting large sums (Chan et al., 1983)."""
        n = self.n + other.n
        gap = other.mean - self.mean
        return Moments(n, self.mean + gap * other.n / n, self.m2 + other.m2 + gap**2 * self.n * other.n / n)

    def deviation(self) -> Array:
        """Standard deviation by column; 1 for a column that never varies, so that dividing by it is harmless."""
        deviation = np.sqrt(self.m2 / self.n)
        return np.where(deviation > 0, deviation, 1.0)
