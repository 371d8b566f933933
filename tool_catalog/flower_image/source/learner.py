"""How a site learns, with its own patches, and how the server begins."""

from __future__ import annotations

from typing import Any

import network
import numpy as np
from averaging.learning import Arrays, Learning, Measured
from averaging.moments import Moments
from patches.images import SiteImages
from patches.measures import measure
from request import Request

AVERAGED = len(network.NAMES)
"""arrays of a model: running moments are averaged like weights"""


class Learner:
    """One site's side of the training: weights and means, never a patch.

    Adam begins anew in every round, as its moments stay where they were made.
    """

    def __init__(self, site: SiteImages, request: Request) -> None:
        self.names = (f"lesion in {request.size} pixels",)
        self.rows = len(site.train.labels)
        self.shapes = tuple(array.shape for array in network.start(request.size, request.seed))
        self._site = site
        self._request = request

    def moments(self) -> Moments:
        """Of the labels: how many patches have a lesion is half of them, at every site."""
        return Moments.of(self._site.train.labels[:, None].astype(np.float64))

    def train(self, arrays: Arrays, number: int) -> Arrays:
        """Epochs over the patches in an order that follows from seed and round."""
        learned = [array.copy() for array in arrays]
        train, request = self._site.train, self._request
        adam = network.Adam(request.learning_rate)
        chance = np.random.default_rng([request.seed, number])
        for _ in range(request.local_epochs):
            order = chance.permutation(self.rows)
            for start in range(0, self.rows, request.batch):
                batch = order[start : start + request.batch]
                network.train_batch(learned, train.images[batch], train.labels[batch], adam)
        return learned

    def measure(self, arrays: Arrays) -> Measured:
        found = measure(arrays, self._site)
        return Measured(self.rows, found.loss, len(self._site.test.labels), found.test_loss, found.accuracy)


def learning(request: Request) -> Learning:
    """The server's side."""
    return Learning(lambda *_: network.start(request.size, request.seed), averaged=AVERAGED, held_out=True)


def named(_: tuple[str, ...], learned: Arrays) -> dict[str, Any]:
    """The arrays of the model's file."""
    return dict(zip(network.NAMES, learned, strict=True))
