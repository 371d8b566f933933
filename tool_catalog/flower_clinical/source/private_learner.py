"""How a site learns with differential privacy of persons: all that it tells has noise, which is accounted for.

Of a person with several rows their mean counts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from averaging.learning import Arrays, Measured
from clinical.site import Array, Site
from learner import Learner
from private_averaging.budget import Budget
from private_averaging.noise import Told, by_person, capped
from request import Request

Whose = npt.NDArray[np.int64]


class PrivateLearner(Learner):
    """As :class:`Learner`; ``whose`` has the person of each row, by number from 0, and ``rows`` are persons.

    Values beyond the bounds, ``low`` and ``high``, are moved to them.
    """

    def __init__(self, site: Site, request: Request, whose: Whose, low: Array, high: Array) -> None:
        super().__init__(replace(site, rows=np.clip(site.rows, low, high)), request)
        self.rows = int(whose.max()) + 1
        self._whose = whose
        budget = Budget.of(request)
        self._told = Told(budget.clip, budget.steps, budget.multiplier(), self.rows)

    def train(self, arrays: Arrays, number: int) -> Arrays:
        with np.errstate(all="ignore"):
            return super().train(arrays, number)

    def measure(self, arrays: Arrays) -> Measured:
        coef, intercept, mean, scale = arrays
        with np.errstate(all="ignore"):
            columns, outcome = self._standardised(mean, scale)
            losses = capped((columns @ coef + intercept - outcome) ** 2)
        found = self._told.measured(by_person(losses, self._whose))
        return replace(found, loss=found.loss * self._unit(scale) ** 2)

    def _gradient(self, columns: Array, error: Array) -> tuple[Array, float]:
        of_rows = np.column_stack([columns * error[:, None], error])
        noisy = self._told.gradient([by_person(of_rows, self._whose)])
        return noisy[:-1], float(noisy[-1])
