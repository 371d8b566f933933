"""How a site learns with differential privacy: all that it tells of its rows has noise, which is accounted for.

Columns are scaled by the bounds that the researcher states, not by the rows' own moments, and values beyond them are
moved to them. The site computes the noise itself, from its own copy of the parameters: a server cannot ask for less.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from averaging.learning import Arrays, Learning, Measured
from averaging.moments import Moments
from bounded import ends, moments_of
from data import Part, SiteData
from learner import LEARNING, Learner
from model import Array, Model
from privacy import MOST_LOSS, Budget, Noise, clipped
from request import Request


def budget(request: Request) -> Budget:
    assert request.epsilon is not None
    assert request.delta is not None
    return Budget(request.epsilon, request.delta, request.clip, request.steps)


class PrivateLearner(Learner):
    """As :class:`Learner`, with the bounds of the request; raises Fault if a column has none."""

    def __init__(self, data: SiteData, request: Request) -> None:
        low, high = ends(data.names, request)
        within = {name: _within(getattr(data, name), low, high) for name in ("train", "test")}
        super().__init__(replace(data, **within), request)
        self._moments = moments_of(self.rows, low, high)
        self._clip = request.clip
        multiplier = budget(request).multiplier()
        self._of_train = Noise(multiplier, self.rows)
        self._of_test = Noise(multiplier, len(data.test.labels))

    def moments(self) -> Moments:
        """Of the bounds: the middle, and half of the width as deviation."""
        return self._moments

    def train(self, arrays: Arrays, number: int) -> Arrays:
        request, train = self._request, self._data.train
        model = Model.from_arrays(arrays)
        for _ in range(request.local_steps):
            gradients = clipped(model.gradients(train.features, train.labels), self._clip)
            noisy = self._of_train.added(gradients.mean(axis=0), 2 * self._clip)
            model = model.moved(noisy[:-1], noisy[-1:], rate=request.learning_rate, l2=request.l2)
        return model.arrays()

    def measure(self, arrays: Arrays) -> Measured:
        """Of rows of which each has a loss of :data:`~privacy.MOST_LOSS` at most."""
        model, train, test = Model.from_arrays(arrays), self._data.train, self._data.test
        loss = self._of_train.added(np.array([_losses(model, train).mean()]), MOST_LOSS)[0]
        right = model.predictions(test.features) == (test.labels > 0.5)
        shares = np.array([_losses(model, test).mean() / MOST_LOSS, right.mean()])
        test_loss, accuracy = self._of_test.added(shares, 2**0.5)
        return Measured(
            train_rows=self.rows,
            loss=max(0.0, float(loss)),
            test_rows=len(test.labels),
            test_loss=max(0.0, float(test_loss)) * MOST_LOSS,
            accuracy=min(1.0, max(0.0, float(accuracy))),
        )


class Reported:
    """The server's side: it begins as ever, and the result says what was spent."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._rows = 0
        self.learning = Learning(start=self._start, averaged=LEARNING.averaged, held_out=LEARNING.held_out)

    def _start(self, names: tuple[str, ...], moments: Moments) -> Arrays:
        self._rows = moments.n
        return LEARNING.start(names, moments)

    def told(self, _names: tuple[str, ...], _learned: Arrays) -> dict[str, Any]:
        return {"privacy": budget(self._request).report(self._rows)}


def _within(part: Part, low: Array, high: Array) -> Part:
    return replace(part, features=np.clip(part.features, low, high))


def _losses(model: Model, part: Part) -> Array:
    return np.minimum(model.losses(part.features, part.labels), MOST_LOSS)
