"""Differential privacy of one site's training rows: gradients are clipped row by row, and normal noise is added.

Neighbours are two tables of as many rows of which one differs (C. Dwork, A. Roth, 2014). A row moves a sum of clipped
gradients by twice the clip at most, and noise of ``multiplier`` times that is added to each sum (M. Abadi et al., CCS
2016, without sampling). Every step, and every measure of the training rows, is one such Gaussian mechanism; what they
spend together is said by Google's dp-accounting, exactly (J. Dong, A. Roth, W. Su, 2022, corollary 2). Which row is in
which part is not protected, nor how many there are.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
from dp_accounting import get_epsilon_gaussian, get_sigma_gaussian

Array = npt.NDArray[np.float64]
MOST_LOSS = 4.0
"""to which the loss of one row is clipped before it is averaged"""

UPWARDS = 1 + 1e-9


@dataclass(frozen=True)
class Budget:
    """What may be spent on each training row, in so many ``steps``: those of the training, and one measure a round."""

    epsilon: float
    delta: float
    clip: float
    steps: int

    def multiplier(self) -> float:
        """The least noise multiplier that spends no more, by the accountant, and what its search may have missed."""
        return float(get_sigma_gaussian(self.epsilon, self.delta)) * math.sqrt(self.steps) * UPWARDS

    def spent(self, multiplier: float) -> float:
        """Epsilon at ``delta`` after all steps with this noise, by the accountant: so many Gaussian mechanisms are one
        with the noise divided by the root of their number."""
        return float(get_epsilon_gaussian(multiplier / math.sqrt(self.steps), self.delta))

    def report(self, train_rows: int) -> dict[str, Any]:
        """What the result says of it."""
        multiplier = self.multiplier()
        return {
            "train_rows": train_rows,
            "epsilon": self.spent(multiplier),
            "delta": self.delta,
            "steps": self.steps,
            "noise_multiplier": multiplier,
            "clip": self.clip,
            "protects": "one row of one site's table, replaced by any other",
            "accountant": f"dp-accounting {version('dp-accounting')}, Gaussian mechanisms composed exactly",
        }


class Noise:
    """Adds normal noise to means over ``rows`` rows, of the operating system's random numbers."""

    def __init__(self, multiplier: float, rows: int) -> None:
        self._share = multiplier / rows
        self._random = random.SystemRandom()

    def added(self, mean: Array, reach: float) -> Array:
        """``mean`` with noise, which one row can move by ``reach`` / rows at most (in the Euclidean norm)."""
        deviation = self._share * reach
        return mean + np.array([self._random.gauss(0.0, deviation) for _ in range(mean.size)]).reshape(mean.shape)


def clipped(gradients: Array, clip: float) -> Array:
    """Each row shortened to the length ``clip``, if it is longer."""
    lengths = np.linalg.norm(gradients, axis=1, keepdims=True)
    return np.asarray(gradients * np.minimum(1.0, clip / np.maximum(lengths, 1e-300)))
