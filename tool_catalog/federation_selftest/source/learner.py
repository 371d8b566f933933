"""A training without data: each host draws a point towards itself, the average ends amid them, one may misbehave."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from typing import Any

import numpy as np
from averaging.learning import Arrays, Learning, Measured
from averaging.moments import Moments
from request import Request

ROWS = 100
SIZE = 2
EXIT_CODE = 7


class Learner:
    """One host's side. Where it is follows from its name."""

    def __init__(self, host: str, request: Request) -> None:
        self.names = ("x", "y")
        self.rows = ROWS
        self.shapes = ((SIZE,),)
        self._host, self._request = host, request
        self._place = place(host)

    def moments(self) -> Moments:
        if self._fails("other_name", 1):
            self.names = ("x", "z")
        return Moments(ROWS, self._place, np.ones(SIZE))

    def train(self, arrays: Arrays, number: int) -> Arrays:
        """Half the way to this host's place, or the fault that is asked for."""
        if self._fails("exit", number):
            print(f"{self._host}: exits in round {number}, as it was asked to", file=sys.stderr, flush=True)
            os._exit(EXIT_CODE)
        if self._fails("hang", number):
            print(f"{self._host}: hangs in round {number}, as it was asked to", flush=True)
            time.sleep(24 * 3600)
        if self._fails("nonsense", number):
            return [np.full(SIZE, np.nan)]
        if self._fails("other_shape", number):
            return [np.zeros((1000, SIZE))]
        return [(arrays[0] + self._place) / 2]

    def measure(self, arrays: Arrays) -> Measured:
        """The loss is the squared distance."""
        return Measured(ROWS, float(((arrays[0] - self._place) ** 2).sum()))

    def _fails(self, how: str, number: int) -> bool:
        request = self._request
        return request.fault == how and request.host == self._host and (number == request.round or how == "other_name")


def place(host: str) -> np.ndarray:
    """A point in the unit square that follows from the host's name."""
    digest = hashlib.sha256(host.encode()).digest()
    return np.array([digest[0] / 255, digest[1] / 255])


def named(_: tuple[str, ...], learned: Arrays) -> dict[str, Any]:
    """The arrays of the model's file."""
    return {"point": learned[0]}


LEARNING = Learning(start=lambda *_: [np.full(SIZE, 2.0)], averaged=1, held_out=False)
