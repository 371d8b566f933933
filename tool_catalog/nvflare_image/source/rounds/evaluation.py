"""A log likelihood at one point, as it adds up over hosts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from regression.answers import Answer

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """``information`` is the negative second derivative, positive semidefinite."""

    log_likelihood: float
    gradient: Array
    information: Array

    def __add__(self, other: Evaluation) -> Evaluation:
        return Evaluation(
            self.log_likelihood + other.log_likelihood,
            self.gradient + other.gradient,
            self.information + other.information,
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "log_likelihood": self.log_likelihood,
            "gradient": self.gradient.tolist(),
            "information": ((self.information + self.information.T) / 2).tolist(),
        }

    @staticmethod
    def read(answer: Answer, size: int) -> Evaluation:
        """What a host answered. Raises Fault naming host and field."""
        answer.check(("log_likelihood", "gradient", "information"))
        return Evaluation(
            answer.number("log_likelihood"), answer.vector("gradient", size), answer.matrix("information", size)
        )
