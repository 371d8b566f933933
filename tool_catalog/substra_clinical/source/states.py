"""SubstraFL's states as JSON: on a connection there is never a pickle, which would be code for whoever opens it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from regression.answers import Answer
from substrafl.strategies.schemas import FedAvgAveragedState, FedAvgSharedState


def told(arrays: Sequence[np.ndarray]) -> dict[str, Any]:
    """Coefficients and intercept."""
    coefficients, intercept = arrays
    return {"coefficients": coefficients.tolist(), "intercept": intercept.tolist()}


def read(answer: Answer, terms: int) -> list[np.ndarray]:
    """What :func:`told` says. Raises Fault naming host and field."""
    answer.check(("coefficients", "intercept"))
    return [answer.vector("coefficients", terms), answer.vector("intercept", 1)]


def averaged(answer: Answer, terms: int) -> FedAvgAveragedState:
    """What the server tells of all hosts. Raises Fault."""
    return FedAvgAveragedState(avg_parameters_update=read(answer, terms))


def shared(answer: Answer, terms: int, rows: int) -> FedAvgSharedState:
    """What a host with so many ``rows`` tells. Raises Fault naming host and field."""
    answer.check(("update",), n=rows)
    return FedAvgSharedState(n_samples=rows, parameters_update=read(answer.part("update"), terms))
