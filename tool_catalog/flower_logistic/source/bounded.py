"""Columns scaled by the bounds that the researcher states: of the rows' own moments nothing is told then."""

from __future__ import annotations

import numpy as np
from averaging.faults import Fault
from averaging.moments import Moments
from data import SiteData
from learner import Learner
from model import Array
from request import Request


def ends(names: tuple[str, ...], request: Request) -> tuple[Array, Array]:
    """Lowest and highest value by column; 0 and 1 for a category's. Raises Fault if a column has none."""
    usual = {name: (0.0, 1.0) for name in names if "=" in name}
    found = usual | dict(request.bounds)
    if missing := [name for name in names if name not in found]:
        raise Fault(
            "parameters: bounds: with epsilon or secure_aggregation each number needs the [lowest, highest] that it is "
            f"taken for, which are known without the data; missing are {', '.join(missing[:10])}"
        )
    low, high = zip(*(found[name] for name in names), strict=True)
    return np.array(low), np.array(high)


def moments_of(rows: int, low: Array, high: Array) -> Moments:
    """Of the bounds: the middle, and half of the width as deviation."""
    return Moments(rows, (low + high) / 2, rows * ((high - low) / 2) ** 2)


class BoundedLearner(Learner):
    """As :class:`Learner`, with the request's bounds in place of moments; raises Fault if a column has none."""

    def __init__(self, data: SiteData, request: Request) -> None:
        super().__init__(data, request)
        self._moments = moments_of(self.rows, *ends(data.names, request))

    def moments(self) -> Moments:
        return self._moments
