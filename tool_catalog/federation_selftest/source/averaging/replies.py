"""Replies of clients, read as input from strangers: what cannot be right is a failure of that host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.common import EvaluateRes, FitRes, parameters_to_ndarrays

from .faults import Broken
from .learning import Arrays, Measured
from .moments import Moments

MOST_ROWS = 10**9
MOST_FEATURES = 10_000
Shape = tuple[tuple[int, ...], Any]


class Unusable(Broken):
    """A reply that cannot be taken into an average; the text says why."""


@dataclass(frozen=True)
class Introduction:
    """A client's first reply: whose it is, its columns, and its training rows' moments."""

    host: str
    features: tuple[str, ...]
    moments: Moments


def introduction(reply: FitRes) -> Introduction:
    """Read a reply to the question for moments. Raises :class:`Unusable`."""
    host, names = reply.metrics.get("host"), reply.metrics.get("features")
    if not isinstance(host, str) or not isinstance(names, str):
        raise Unusable("a client did not say which host it is and which features it has")
    features = tuple(names.split("\n"))
    if not 1 <= len(features) <= MOST_FEATURES:
        raise Unusable(f"{host} has more than {MOST_FEATURES} features")
    mean, m2 = _arrays(reply, [((len(features),), np.dtype(np.float64))] * 2)
    if (m2 < 0).any():
        raise Unusable(f"{host} told a negative sum of squares")
    return Introduction(host, features, Moments(_rows(reply.num_examples), mean, m2))


def check_trained(reply: FitRes, model: Arrays) -> None:
    """Whether a reply holds a model like ``model``. Raises :class:`Unusable`."""
    _arrays(reply, [(array.shape, array.dtype) for array in model])
    _rows(reply.num_examples)


def measured(reply: EvaluateRes, *, held_out: bool) -> Measured:
    """Read a reply to an evaluation; Flower's own field for the loss has half the digits. Raises :class:`Unusable`."""
    told = reply.metrics
    loss, rows = _measure(told.get("loss"), "loss"), _rows(reply.num_examples)
    if not held_out:
        return Measured(rows, loss)
    accuracy = _measure(told.get("accuracy"), "accuracy")
    if accuracy > 1:
        raise Unusable("the accuracy is more than 1")
    return Measured(rows, loss, _rows(told.get("test_rows")), _measure(told.get("test_loss"), "test_loss"), accuracy)


def _arrays(reply: FitRes, shapes: Sequence[Shape]) -> Arrays:
    try:
        arrays = parameters_to_ndarrays(reply.parameters)
    except (ValueError, OSError, EOFError, TypeError) as fault:
        raise Unusable("the arrays cannot be read") from fault
    fits = [(array.shape, array.dtype) for array in arrays] == list(shapes)
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
