"""SubstraFL's states as JSON: on a connection there is never a pickle, which would be code for whoever opens it.

All arrays of a model are one text: their numbers behind each other, as little-endian float32 in base64.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import network
import numpy as np
from algo import METRICS
from network import Array
from regression.answers import Answer
from substrafl.strategies.schemas import FedAvgAveragedState, FedAvgSharedState

BYTES = 4
MOST_LOSS = 1e30


def told(arrays: Sequence[Array]) -> dict[str, Any]:
    """The arrays of a model, or how far it moved."""
    flat = np.concatenate([array.ravel() for array in arrays]).astype("<f4")
    return {"arrays": base64.b64encode(flat.tobytes()).decode()}


class Shapes:
    """The network of so many pixels: what it reads has its arrays, and nothing beside. Raises Fault for others."""

    def __init__(self, size: int) -> None:
        self._shapes = [array.shape for array in network.start(size, 0)]
        self._ends = [0, *accumulate(math.prod(shape) for shape in self._shapes)]

    def averaged(self, answer: Answer) -> FedAvgAveragedState:
        """What the server tells of all hosts."""
        return FedAvgAveragedState(avg_parameters_update=self._read(answer))

    def shared(self, answer: Answer, rows: int) -> FedAvgSharedState:
        """What a host with so many ``rows`` tells."""
        answer.check(("update",), n=rows)
        return FedAvgSharedState(n_samples=rows, parameters_update=self._read(answer.part("update")))

    def _read(self, answer: Answer) -> list[Array]:
        answer.check(("arrays",))
        size = self._ends[-1] * BYTES
        try:
            content = base64.b64decode(answer.text("arrays", 2 * size + 8), validate=True)
        except ValueError as fault:
            raise answer.wrong("arrays must be base64") from fault
        if len(content) != size:
            raise answer.wrong(f"arrays must be {self._ends[-1]} numbers of this network")
        flat = np.frombuffer(content, "<f4").astype(np.float32)
        if not np.isfinite(flat).all():
            raise answer.wrong("arrays must be finite numbers")
        parts = zip(pairwise(self._ends), self._shapes, strict=True)
        return [flat[start:end].reshape(shape) for (start, end), shape in parts]


def measured(answer: Answer) -> Mapping[str, float]:
    """A host's measures, by the names of :data:`algo.METRICS`. Raises Fault naming host and field."""
    answer.check(("measured",))
    part = answer.part("measured")
    part.check(METRICS)
    found = {name: part.number(name) for name in METRICS}
    for name, value in found.items():
        if not 0 <= value <= (1 if name == "accuracy" else MOST_LOSS):
            raise part.wrong(f"{name} is no number that it can be")
    return found
