"""SubstraFL's algorithm: the demonstrator's network at one site, by Adam, over batches of SubstraFL's generator.

What a host tells is how far its updates moved the model; SubstraFL's FedAvg averages that by rows. As in SubstraFL's
own algorithms, Adam's moments and the place in the batches stay at the host from round to round.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import network
from network import Array
from patches.measures import Measures, measure
from substrafl.algorithms.algo import Algo
from substrafl.index_generator import NpIndexGenerator
from substrafl.remote import remote_data
from substrafl.strategies.schemas import FedAvgSharedState, StrategyName


class NetworkTraining(Algo):
    """Begins with the network of ``size`` pixels that follows from ``seed``; ``rate`` is Adam's."""

    def __init__(self, size: int, seed: int, updates: int, batch: int, rate: float) -> None:
        super().__init__(size=size, seed=seed, updates=updates, batch=batch, rate=rate)
        self.parameters = network.start(size, seed)
        self._adam = network.Adam(rate)
        self._batches = NpIndexGenerator(batch_size=batch, num_updates=updates, seed=seed)

    @property
    def model(self) -> list[Array]:
        return self.parameters

    @property
    def strategies(self) -> list[StrategyName]:
        return [StrategyName.FEDERATED_AVERAGING]

    @remote_data
    def train(self, data_from_opener: Any, shared_state: Any = None) -> FedAvgSharedState:
        """Take the average in, if there is one, and tell how far this site's updates move the model from there."""
        patches = data_from_opener.train
        if shared_state is not None:
            moved = zip(self.parameters, shared_state.avg_parameters_update, strict=True)
            self.parameters = [before + update for before, update in moved]
        learned = [array.copy() for array in self.parameters]
        if self._batches.n_samples is None:
            self._batches.n_samples = len(patches.labels)
        self._batches.reset_counter()
        for batch in self._batches:
            network.train_batch(learned, patches.images[batch], patches.labels[batch], self._adam)
        updates = [after - before for after, before in zip(learned, self.parameters, strict=True)]
        return FedAvgSharedState(n_samples=len(patches.labels), parameters_update=updates)

    def predict(self, data_from_opener: Any, shared_state: Any = None) -> Measures:
        """How the model does that the last training began with, which is the average before it."""
        return measure(self.parameters, data_from_opener)

    def save_local_state(self, path: Path) -> None:
        """It stays where it is written: at the host."""
        path.write_bytes(pickle.dumps((self.parameters, self._adam, self._batches)))

    def load_local_state(self, path: Path) -> NetworkTraining:
        self.parameters, self._adam, self._batches = pickle.loads(path.read_bytes())  # this host has written it
        return self


def loss(data_from_opener: Any, predictions: Measures) -> float:
    """Mean cross-entropy over the patches that are trained on."""
    return predictions.loss


def test_loss(data_from_opener: Any, predictions: Measures) -> float:
    """Mean cross-entropy over held-out patches."""
    return predictions.test_loss


def accuracy(data_from_opener: Any, predictions: Measures) -> float:
    """Share of held-out patches that are told right."""
    return predictions.accuracy


METRICS = {function.__name__: function for function in (loss, test_loss, accuracy)}
