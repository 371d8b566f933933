"""Replies of clients, read as input from strangers: what cannot be right is a failure of that host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faults import Broken
from flwr.common import EvaluateRes, FitRes, parameters_to_ndarrays
from model import Model, Moments
from numpy.typing import NDArray

MOST_ROWS = 10**9
MOST_FEATURES = 10_000


class Unusable(Broken):
    """A reply that cannot be taken into an average; the text says why."""


@dataclass(frozen=True)
class Introduction:
    """A client's first reply: whose it is, its features, and its training rows' moments."""

    host: str
    features: tuple[str, ...]
    moments: Moments


@dataclass(frozen=True)
class Measured:
    """How the global model does at one host; losses are mean natural-log losses."""

    train_rows: int
    train_loss: float
    test_rows: int
    test_loss: float
    accuracy: float


def introduction(reply: FitRes) -> Introduction:
    """Read a reply to the question for moments. Raises :class:`Unusable`."""
    host, names = reply.metrics.get("host"), reply.metrics.get("features")
    if not isinstance(host, str) or not isinstance(names, str):
        raise Unusable("a client did not say which host it is and which features it has")
    features = tuple(names.split("\n"))
    if not 1 <= len(features) <= MOST_FEATURES:
        raise Unusable(f"{host} has more than {MOST_FEATURES} features")
    mean, m2 = _arrays(reply, [(len(features),)] * 2)
    if (m2 < 0).any():
        raise Unusable(f"{host} told a negative sum of squares")
    return Introduction(host, features, Moments(_rows(reply.num_examples), mean, m2))


def check_trained(reply: FitRes, model: Model) -> None:
    """Whether a reply holds a model like ``model``. Raises :class:`Unusable`."""
    _arrays(reply, [array.shape for array in model.arrays()])
    _rows(reply.num_examples)


def measured(reply: EvaluateRes) -> Measured:
    """Read a reply to an evaluation. Raises :class:`Unusable`."""
    told = reply.metrics
    accuracy = _measure(told.get("accuracy"), "accuracy")
    if accuracy > 1:
        raise Unusable("the accuracy is more than 1")
    return Measured(
        train_rows=_rows(told.get("train_rows")),
        train_loss=_measure(told.get("train_loss"), "train_loss"),
        test_rows=_rows(reply.num_examples),
        test_loss=_measure(reply.loss, "loss"),
        accuracy=accuracy,
    )


def _arrays(reply: FitRes, shapes: Sequence[tuple[int, ...]]) -> list[NDArray[Any]]:
    try:
        arrays = parameters_to_ndarrays(reply.parameters)
    except (ValueError, OSError, EOFError, TypeError) as fault:
        raise Unusable("the arrays cannot be read") from fault
    fits = [array.shape for array in arrays] == list(shapes) and all(array.dtype == np.float64 for array in arrays)
    if not fits or not all(np.isfinite(array).all() for array in arrays):
        raise Unusable("the arrays have another shape or type, or hold numbers that are not finite")
    return arrays


def _measure(value: Any, name: str) -> float:
    if not isinstance(value, float) or not math.isfinite(value) or value < 0:
        raise Unusable(f"{name} is no number that it can be")
    return value


def _rows(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_ROWS:
        raise Unusable("the number of rows is none that it can be")
    return value
