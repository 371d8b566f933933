"""What differential privacy is spent, by Google's dp-accounting.

Neighbours are two sites' data of as many persons, of whom one differs (C. Dwork, A. Roth, 2014). A person moves a sum
of clipped gradients by twice the clip at most, and noise of ``multiplier`` times that is added to each sum (M. Abadi et
al., CCS 2016, without sampling). Every step, and every measure of the persons that are trained on, is one such Gaussian
mechanism; what they spend together is said exactly (J. Dong, A. Roth, W. Su, 2022, corollary 2). Which person is in
which part is not protected, nor how many there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from averaging.faults import Fault
from dp_accounting import get_epsilon_gaussian, get_sigma_gaussian

from .asked import Protection

UPWARDS = 1 + 1e-9


@dataclass(frozen=True)
class Budget:
    """What may be spent on each person, in so many ``steps``: those of the training, and one measure a round."""

    epsilon: float
    delta: float
    clip: float
    steps: int

    @staticmethod
    def of(request: Protection) -> Budget:
        """What a request allows. Raises :class:`Fault` for one without differential privacy."""
        if request.epsilon is None or request.delta is None:
            raise Fault("parameters: epsilon and delta: differential privacy needs both")
        return Budget(request.epsilon, request.delta, request.clip, request.steps)

    def multiplier(self) -> float:
        """The least noise multiplier that spends no more, by the accountant, and what its search may have missed."""
        return float(get_sigma_gaussian(self.epsilon, self.delta)) * math.sqrt(self.steps) * UPWARDS

    def spent(self, multiplier: float) -> float:
        """Epsilon at ``delta`` after all steps with this noise, by the accountant: so many Gaussian mechanisms are one
        with the noise divided by the root of their number."""
        return float(get_epsilon_gaussian(multiplier / math.sqrt(self.steps), self.delta))

    def report(self, train_rows: int, protects: str) -> dict[str, Any]:
        """What the result says of it."""
        multiplier = self.multiplier()
        return {
            "train_rows": train_rows,
            "epsilon": self.spent(multiplier),
            "delta": self.delta,
            "steps": self.steps,
            "noise_multiplier": multiplier,
            "clip": self.clip,
            "protects": protects,
            "accountant": f"dp-accounting {version('dp-accounting')}, Gaussian mechanisms composed exactly",
        }
