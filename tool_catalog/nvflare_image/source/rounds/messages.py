"""What goes over the connection: bodies of HTTP messages, each a JSON object."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from regression.faults import Broken, Fault
from regression.jsonfile import strict_object

from .standard import Standard

Array = npt.NDArray[np.float64]
LARGEST = 32 * 1024 * 1024
"""bytes of one message"""
PATH = "/answers"
REFUSED = {"refused": "few_persons"}
"""the answer of a host that lets no sums out at the coefficients that it was told"""


@dataclass(frozen=True)
class Ask:
    """One round: the coefficients of the terms, standardised, at which a host shall evaluate its rows."""

    round: int
    coefficients: Array
    standard: Standard

    def body(self) -> bytes:
        told = {"round": self.round, "coefficients": self.coefficients.tolist(), **self.standard.as_json()}
        return json.dumps(told, allow_nan=False).encode()

    @staticmethod
    def read(body: bytes, number: int, terms: int, coefficients: int) -> Ask | None:
        """The round ``number``, or None if all is over. Raises :class:`Broken` for whatever else it asks for."""
        try:
            told = strict_object(body, "the server's message")
        except Fault as fault:
            raise Broken(str(fault)) from fault
        if told == {"finished": True}:
            return None
        if told == {"failed": True}:
            raise Broken("the server has ended the computation; its log and its result say why")
        if told.keys() != {"round", "coefficients", "centre", "scale"} or told["round"] != number:
            raise Broken("the server asks for something else than the next round: nothing is told")
        numbers = [_numbers(told[key], size) for key, size in
                   (("coefficients", coefficients), ("centre", terms), ("scale", terms))]  # fmt: skip
        if (numbers[2] <= 0).any():
            raise Broken("the server tells a scale that is none: nothing is told")
        return Ask(number, numbers[0], Standard(numbers[1], numbers[2]))


def finished() -> bytes:
    return json.dumps({"finished": True}).encode()


def failed() -> bytes:
    return json.dumps({"failed": True}).encode()


def _numbers(value: Any, size: int) -> Array:
    fits = isinstance(value, list) and len(value) == size
    if not fits or not all(isinstance(entry, float) and math.isfinite(entry) for entry in value):
        raise Broken(f"the server does not tell {size} finite numbers: nothing is told")
    return np.array(value, dtype=np.float64)
