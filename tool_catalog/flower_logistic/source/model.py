"""Logistic regression on standardised features, in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from averaging.moments import Moments

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """Coefficients and intercept for features from which ``mean`` was taken and which were divided by ``scale``."""

    coef: Array
    intercept: Array
    mean: Array
    scale: Array

    @staticmethod
    def start(moments: Moments) -> Model:
        """The model that knows nothing yet, with the scaling of all training rows together."""
        return Model(np.zeros(len(moments.mean)), np.zeros(1), moments.mean, moments.deviation())

    @staticmethod
    def from_arrays(arrays: list[npt.NDArray[Any]]) -> Model:
        return Model(*(np.asarray(array, dtype=np.float64) for array in arrays))

    def arrays(self) -> list[npt.NDArray[Any]]:
        return [self.coef, self.intercept, self.mean, self.scale]

    def trained(self, features: Array, labels: Array, *, steps: int, rate: float, l2: float) -> Model:
        """This model after ``steps`` full-batch gradient steps on the penalised mean log loss."""
        rows = self._standardised(features)
        coef, intercept = self.coef.copy(), self.intercept.copy()
        for _ in range(steps):
            error = _sigmoid(rows @ coef + intercept) - labels
            coef -= rate * (rows.T @ error / len(rows) + l2 * coef)
            intercept -= rate * error.mean()
        return Model(coef, intercept, self.mean, self.scale)

    def gradients(self, features: Array, labels: Array) -> Array:
        """Of each row's log loss: by the coefficients, and last by the intercept."""
        rows = self._standardised(features)
        error = _sigmoid(rows @ self.coef + self.intercept) - labels
        return np.column_stack([rows * error[:, None], error])

    def moved(self, by_coef: Array, by_intercept: Array, *, rate: float, l2: float) -> Model:
        """This model after one step against a gradient of the mean log loss, and of the penalty."""
        coef = self.coef - rate * (by_coef + l2 * self.coef)
        return Model(coef, self.intercept - rate * by_intercept, self.mean, self.scale)

    def loss(self, features: Array, labels: Array) -> float:
        """Mean log loss (natural logarithm)."""
        return float(np.mean(self.losses(features, labels)))

    def losses(self, features: Array, labels: Array) -> Array:
        """The log loss of each row, without overflow at any distance from the boundary."""
        margin = self._margin(features)
        return np.asarray(np.logaddexp(0.0, margin) - labels * margin, dtype=np.float64)

    def predictions(self, features: Array) -> npt.NDArray[np.bool_]:
        return np.asarray(self._margin(features) > 0)

    def accuracy(self, features: Array, labels: Array) -> float:
        return float(np.mean(self.predictions(features) == (labels > 0.5)))

    def _margin(self, features: Array) -> Array:
        return np.asarray(self._standardised(features) @ self.coef + self.intercept, dtype=np.float64)

    def _standardised(self, features: Array) -> Array:
        return (features - self.mean) / self.scale


def _sigmoid(margin: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * margin)), dtype=np.float64)
