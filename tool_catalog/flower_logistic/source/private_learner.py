"""How a site learns with differential privacy: all that it tells of its rows has noise, which is accounted for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from averaging.learning import Arrays, Measured
from data import Part, SiteData
from learner import Learner
from model import Array, Model
from private_averaging.budget import Budget
from private_averaging.noise import Told
from request import Request


class PrivateLearner(Learner):
    """As :class:`Learner`; values beyond the bounds, ``low`` and ``high``, are moved to them, and a row is a person."""

    def __init__(self, data: SiteData, request: Request, low: Array, high: Array) -> None:
        within = {name: _within(getattr(data, name), low, high) for name in ("train", "test")}
        super().__init__(replace(data, **within), request)
        budget = Budget.of(request)
        self._told = Told(budget.clip, budget.steps, budget.multiplier(), self.rows, len(data.test.labels))

    def train(self, arrays: Arrays, number: int) -> Arrays:
        request, train = self._request, self._data.train
        model = Model.from_arrays(arrays)
        for _ in range(request.local_steps):
            with np.errstate(all="ignore"):
                gradients = model.gradients(train.features, train.labels)
            noisy = self._told.gradient([gradients])
            model = model.moved(noisy[:-1], noisy[-1:], rate=request.learning_rate, l2=request.l2)
        return model.arrays()

    def measure(self, arrays: Arrays) -> Measured:
        model, train, test = Model.from_arrays(arrays), self._data.train, self._data.test
        with np.errstate(all="ignore"):
            losses, held_out = (model.losses(part.features, part.labels) for part in (train, test))
            right = model.predictions(test.features) == (test.labels > 0.5)
        return self._told.measured(losses, (held_out, right))


def _within(part: Part, low: Array, high: Array) -> Part:
    return replace(part, features=np.clip(part.features, low, high))
