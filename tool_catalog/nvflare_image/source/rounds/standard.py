"""Terms at a common scale: Newton's method then loses no digits to units, or to means far from 0."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Of ``n`` rows by term: their ``means``, and the sums of squared deviations from them (``squares``)."""

    n: int
    means: Array
    squares: Array

    @staticmethod
    def of(rows: Array) -> Moments:
        means = np.array([math.fsum(column) / len(rows) for column in rows.T])
        return Moments(len(rows), means, ((rows - means) ** 2).sum(axis=0))

    def __add__(self, other: Moments) -> Moments:
        """Those of both groups' rows (Chan et al., 1983)."""
        n, gap = self.n + other.n, other.means - self.means
        squares = self.squares + other.squares + gap**2 * (self.n * other.n / n)
        return Moments(n, self.means + gap * (other.n / n), squares)


@dataclass(frozen=True)
class Standard:
    """Each term minus ``centre``, divided by ``scale``."""

    centre: Array
    scale: Array

    @staticmethod
    def of(moments: Moments, *, centred: bool) -> Standard:
        """Of all hosts' rows. Without an intercept terms cannot be ``centred``. A term that never varies stays."""
        centre = moments.means if centred else np.zeros_like(moments.means)
        spread = np.sqrt((moments.squares + moments.n * (moments.means - centre) ** 2) / moments.n)
        return Standard(centre, np.where(spread > 0, spread, 1.0))

    def apply(self, rows: Array) -> Array:
        return np.asarray((rows - self.centre) / self.scale)

    def back(self, *, intercept: bool) -> Array:
        """The matrix that leads from coefficients of standardised terms to those of the terms as they are.

        The intercept, if there is one, is first.
        """
        slopes = np.diag(1 / self.scale)
        if not intercept:
            return slopes
        top = np.concatenate([[1.0], -self.centre / self.scale])
        return np.vstack([top, np.column_stack([np.zeros(len(self.scale)), slopes])])

    def as_json(self) -> dict[str, Any]:
        return {"centre": self.centre.tolist(), "scale": self.scale.tolist()}
