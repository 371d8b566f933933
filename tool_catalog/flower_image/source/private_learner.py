"""How a site learns with differential privacy of persons: all that it tells has noise, which is accounted for.

A step is over all persons at once. The running moments of batch normalisation stay as they began: those of a batch
would make each person's gradient depend on others.
"""

from __future__ import annotations

from collections.abc import Iterator

import network
import numpy as np
from averaging.learning import Arrays, Measured
from averaging.moments import Moments
from learner import Learner
from patches.images import SiteImages
from patches.measures import of_each
from private_averaging.budget import Budget
from private_averaging.noise import Array, Told, by_person, capped
from request import Request


class PrivateLearner(Learner):
    """As :class:`Learner`, but that ``rows`` are persons, of whom each counts as the mean of his patches."""

    def __init__(self, site: SiteImages, request: Request) -> None:
        super().__init__(site, request)
        self.rows = site.train.persons
        budget = Budget.of(request)
        self._told = Told(budget.clip, budget.steps, budget.multiplier(), self.rows, site.test.persons)

    def moments(self) -> Moments:
        """Of labels of which half are lesions, whoever the persons are."""
        return Moments(self.rows, np.array([0.5]), np.array([self.rows / 4]))

    def train(self, arrays: Arrays, number: int) -> Arrays:
        """A step of Adam for each epoch."""
        learned = [array.copy() for array in arrays]
        adam = network.Adam(self._request.learning_rate)
        for _ in range(self._request.local_epochs):
            adam.step(learned, _like(learned[: network.LEARNED], self._told.gradient(self._gradients(learned))))
        return learned

    def measure(self, arrays: Arrays) -> Measured:
        with np.errstate(all="ignore"):
            (losses, _), (held_out, right) = (of_each(arrays, part) for part in (self._site.train, self._site.test))
        tested = self._site.test.whose
        return self._told.measured(
            by_person(capped(losses), self._site.train.whose),
            (by_person(capped(held_out), tested), by_person(right.astype(np.float64), tested)),
        )

    def _gradients(self, learned: Arrays) -> Iterator[Array]:
        """Of each person."""
        train = self._site.train
        for person in range(self.rows):
            own = train.whose == person
            with np.errstate(all="ignore"):
                found = network.gradients(learned, train.images[own], train.labels[own])
            yield np.concatenate([array.ravel() for array in found]).astype(np.float64)[None]


def _like(arrays: Arrays, values: Array) -> Arrays:
    """The values as arrays of these shapes, in single precision."""
    parts = np.split(values.astype(np.float32), np.cumsum([array.size for array in arrays])[:-1])
    return [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]
