"""SubstraFL's algorithm: scikit-learn's least squares at one site, beginning at coefficients 1 and intercept 0.

What a host tells is its fit minus the model that it began with; SubstraFL's FedAvg averages that by rows.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression
from substrafl.algorithms.algo import Algo
from substrafl.remote import remote_data
from substrafl.strategies.schemas import FedAvgSharedState, StrategyName


class SiteRegression(Algo):
    """``terms`` is the number of the model's columns without the intercept."""

    def __init__(self, terms: int) -> None:
        super().__init__(terms=terms)
        self.parameters = start(terms)

    @property
    def model(self) -> list[np.ndarray]:
        return self.parameters

    @property
    def strategies(self) -> list[StrategyName]:
        return [StrategyName.FEDERATED_AVERAGING]

    @remote_data
    def train(self, data_from_opener: Any, shared_state: Any = None) -> FedAvgSharedState:
        """Take the average in, if there is one, and tell how far this site's fit is from the model."""
        columns, outcome = data_from_opener
        if shared_state is not None:
            moved = zip(self.parameters, shared_state.avg_parameters_update, strict=True)
            self.parameters = [before + update for before, update in moved]
        fitted = LinearRegression().fit(columns, outcome)
        found = [fitted.coef_, np.array([fitted.intercept_])]
        updates = [after - before for after, before in zip(found, self.parameters, strict=True)]
        return FedAvgSharedState(n_samples=len(outcome), parameters_update=updates)

    def predict(self, data_from_opener: Any, shared_state: Any = None) -> np.ndarray:
        """What the model says of the columns; this tool's plan evaluates nothing, as the demonstrator's did not."""
        coefficients, intercept = self.parameters
        return np.asarray(data_from_opener[0] @ coefficients + intercept)

    def save_local_state(self, path: Path) -> None:
        """It stays where it is written: at the host."""
        path.write_bytes(pickle.dumps(self.parameters))

    def load_local_state(self, path: Path) -> SiteRegression:
        self.parameters = pickle.loads(path.read_bytes())  # this host has written it
        return self


def start(terms: int) -> list[np.ndarray]:
    """Coefficients and intercept."""
    return [np.ones(terms), np.zeros(1)]
