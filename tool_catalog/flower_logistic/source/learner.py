"""How a site learns, with its own rows, and how the server begins: logistic regression by gradient steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from averaging.learning import Arrays, Learning, Measured
from averaging.moments import Moments
from data import SiteData
from model import Model
from request import Request


class Learner:
    """One site's side of the training: arrays and sums, never a row."""

    def __init__(self, data: SiteData, request: Request) -> None:
        self.names = data.names
        self.rows = len(data.train.labels)
        self.shapes = ((len(self.names),), (1,), (len(self.names),), (len(self.names),))
        self._data = data
        self._request = request

    def moments(self) -> Moments:
        return Moments.of(self._data.train.features)

    def train(self, arrays: Arrays, number: int) -> Arrays:
        request, train = self._request, self._data.train
        model = Model.from_arrays(arrays).trained(
            train.features, train.labels, steps=request.local_steps, rate=request.learning_rate, l2=request.l2
        )
        return model.arrays()

    def measure(self, arrays: Arrays) -> Measured:
        model, train, test = Model.from_arrays(arrays), self._data.train, self._data.test
        return Measured(
            train_rows=len(train.labels),
            loss=model.loss(train.features, train.labels),
            test_rows=len(test.labels),
            test_loss=model.loss(test.features, test.labels),
            accuracy=model.accuracy(test.features, test.labels),
        )


def named(features: tuple[str, ...], learned: Arrays) -> dict[str, Any]:
    """The arrays of the model's file."""
    names = ("coef", "intercept", "mean", "scale")
    return {"features": np.array(features), **dict(zip(names, learned, strict=True))}


LEARNING = Learning(start=lambda _, moments: Model.start(moments).arrays(), averaged=2, held_out=True)
