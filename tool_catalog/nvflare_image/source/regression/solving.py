"""Normal equations, solved at the scale of correlations, with the names of terms that follow from others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve

from .faults import Fault

Array = npt.NDArray[np.float64]
LEAST_PART = 1e-10
"""of a term's variance that the terms before it must leave unexplained; R's ``lm`` takes 1e-14 of unsquared columns"""


@dataclass(frozen=True)
class Scaled:
    """A positive definite matrix as ``scale`` times ``lower @ lower.T`` times ``scale``."""

    scale: Array
    lower: Array

    def solve(self, right: Array) -> Array:
        """The solution for a right side of as many numbers, or for each column of a matrix."""
        scale = self.scale if right.ndim == 1 else self.scale[:, None]
        return np.asarray(cho_solve((self.lower, True), right / scale) / scale)

    def inverse(self) -> Array:
        return self.solve(np.eye(len(self.scale)))


def scaled(matrix: Array, terms: Sequence[str]) -> Scaled:
    """Factorise the sums of products of ``terms``.

    Raises :class:`Fault` naming a term that is the same for all persons, or that follows from terms before it.
    """
    scale = np.sqrt(np.diag(matrix))
    for term, size in zip(terms, scale, strict=True):
        if not size > 0:
            raise Fault(f"formula: {term} is the same for all persons: leave it out")
    correlations = matrix / np.outer(scale, scale)
    lower = np.zeros_like(correlations)
    for place in range(len(terms)):
        row = _row(lower, correlations, place)
        left = correlations[place, place] - row @ row
        if left < LEAST_PART:
            raise Fault(_follows(correlations, lower, row, place, terms))
        lower[place, :place], lower[place, place] = row, np.sqrt(left)
    return Scaled(scale, lower)


def _row(lower: Array, correlations: Array, place: int) -> Array:
    if not place:
        return np.zeros(0)
    return np.linalg.solve(lower[:place, :place], correlations[place, :place])


def _follows(correlations: Array, lower: Array, row: Array, place: int, terms: Sequence[str]) -> str:
    weights = np.linalg.solve(lower[:place, :place].T, row)
    others = [term for term, weight in zip(terms[:place], weights, strict=True) if abs(weight) > 1e-6]
    return f"formula: {terms[place]} follows from {', '.join(others)} and the intercept, if any: leave one of them out"
