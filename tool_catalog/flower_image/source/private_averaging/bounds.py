"""Columns scaled by the bounds that the researcher states: of the rows' own moments nothing is told then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from averaging.faults import Fault
from averaging.learning import Learner
from averaging.moments import Moments

Array = npt.NDArray[np.float64]


def ends(names: Iterable[str], bounds: Mapping[str, tuple[float, float]], of_two: Iterable[str]) -> tuple[Array, Array]:
    """Lowest and highest value by column; 0 and 1 of those ``of_two`` values. Raises Fault if a column has none."""
    found = dict.fromkeys(of_two, (0.0, 1.0)) | dict(bounds)
    if missing := [name for name in names if name not in found]:
        raise Fault(
            "parameters: bounds: with epsilon or secure_aggregation each number needs the [lowest, highest] that it is "
            f"taken for, which are known without the data; missing are {', '.join(missing[:10])}"
        )
    low, high = zip(*(found[name] for name in names), strict=True)
    return np.array(low), np.array(high)


class BoundedLearner:
    """Another learner, with its columns' bounds in place of its rows' moments."""

    def __init__(self, learner: Learner, low: Array, high: Array) -> None:
        self.names, self.rows, self.shapes = learner.names, learner.rows, learner.shapes
        self.train, self.measure = learner.train, learner.measure
        self._moments = moments_of(self.rows, low, high)

    def moments(self) -> Moments:
        return self._moments


def moments_of(rows: int, low: Array, high: Array) -> Moments:
    """Of the bounds: the middle, and half of the width as deviation."""
    return Moments(rows, (low + high) / 2, rows * ((high - low) / 2) ** 2)
