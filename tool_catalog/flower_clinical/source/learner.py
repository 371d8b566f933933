"""How a site learns, with its own rows, and how the server begins: least squares by gradient steps.

Columns and outcome are standardised by the moments of all hosts' rows together. With one step a round the average of
the hosts' models is a gradient step on all rows; with more, each host goes towards its own optimum, and their average
stays away from the pooled one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from averaging.learning import Arrays, Learning, Measured
from averaging.moments import Moments
from clinical.site import Array, Site
from regression.faults import Fault
from regression.persons import check_pooled
from request import Request


class Learner:
    """One site's side of the training: arrays and sums, never a row."""

    def __init__(self, site: Site, request: Request) -> None:
        self.names = site.names
        self.rows = len(site.rows)
        self.shapes = ((len(self.names) - 1,), (1,), (len(self.names),), (len(self.names),))
        self._rows = site.rows
        self._request = request

    def moments(self) -> Moments:
        return Moments.of(self._rows)

    def train(self, arrays: Arrays, number: int) -> Arrays:
        """This site's gradient steps on half the mean squared error."""
        coef, intercept, mean, scale = (array.copy() for array in arrays)
        columns, outcome = self._standardised(mean, scale)
        rate = self._request.learning_rate
        for _ in range(self._request.local_steps):
            by_coef, by_intercept = self._gradient(columns, columns @ coef + intercept - outcome)
            coef -= rate * by_coef
            intercept -= rate * by_intercept
        if not np.isfinite(coef).all():
            raise Fault("parameters: learning_rate: the steps lead away from every solution; choose a smaller one")
        return [coef, intercept, mean, scale]

    def measure(self, arrays: Arrays) -> Measured:
        """The loss is the mean squared error in units of the outcome, or of its scale with secure aggregation."""
        coef, intercept, mean, scale = arrays
        columns, outcome = self._standardised(mean, scale)
        error = (columns @ coef + intercept - outcome) * self._unit(scale)
        return Measured(train_rows=self.rows, loss=float(np.mean(error**2)))

    def _gradient(self, columns: Array, error: Array) -> tuple[Array, float]:
        return columns.T @ error / len(error), float(error.mean())

    def _unit(self, scale: Array) -> float:
        """What errors are multiplied by: masked numbers have to be small."""
        return 1.0 if self._request.secure_aggregation else float(scale[-1])

    def _standardised(self, mean: Array, scale: Array) -> tuple[Array, Array]:
        rows = (self._rows - mean) / scale
        return rows[:, :-1], rows[:, -1]


def is_of_categories(name: str) -> bool:
    """Whether a column is 1 in a category, or in several at once, as ``sex[T.male]``."""
    return all("[T." in part and part.endswith("]") for part in name.split(":"))


def named(names: tuple[str, ...], learned: Arrays) -> dict[str, Any]:
    """The arrays of the model's file: coefficients of the columns as they are, the intercept first."""
    terms, values = _coefficients(names, learned)
    return {"terms": np.array(terms), "coefficients": np.array(values), "outcome": np.array(names[-1])}


def told(names: tuple[str, ...], learned: Arrays) -> dict[str, Any]:
    """What the result says of the model."""
    return {"coefficients": dict(zip(*_coefficients(names, learned), strict=True))}


def _start(names: tuple[str, ...], moments: Moments) -> Arrays:
    check_pooled(len(names), moments.n)
    return [np.zeros(len(names) - 1), np.zeros(1), moments.mean, moments.deviation()]


LEARNING = Learning(start=_start, averaged=2, held_out=False)


def _coefficients(names: tuple[str, ...], learned: Arrays) -> tuple[list[str], list[float]]:
    coef, intercept, mean, scale = learned
    slopes = coef * scale[-1] / scale[:-1]
    first = mean[-1] + float(intercept[0]) * scale[-1] - mean[:-1] @ slopes
    return ["Intercept", *names[:-1]], [float(first), *slopes.tolist()]
