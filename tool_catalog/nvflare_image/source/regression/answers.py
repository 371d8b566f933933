"""What a site answered, read as input from a stranger: every part is what was asked for, and there is nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .faults import Fault

Array = npt.NDArray[np.float64]
MOST_PERSONS = 10**9


class Answer:
    """One host's answer. Every method raises :class:`Fault` naming host and field if it cannot be right."""

    def __init__(self, host: str, given: dict[str, Any]) -> None:
        self.host = host
        self._given = given

    def check(self, keys: Iterable[str], **fixed: Any) -> None:
        """Exactly these keys, some with values that are known."""
        if wrong := sorted(self._given.keys() ^ {*keys, *fixed}):
            raise self.wrong(f"{', '.join(wrong)}: missing, or more than was asked for")
        for key, value in fixed.items():
            if self._given[key] != value:
                raise self.wrong(f"{key} is not what was asked for")

    def part(self, key: str) -> Answer:
        """An object in it."""
        value = self._given.get(key)
        if not isinstance(value, dict):
            raise self.wrong(f"{key} must be an object")
        return Answer(self.host, value)

    def holds(self, key: str, value: Any) -> bool:
        """Whether it has this value under this key."""
        return key in self._given and self._given[key] == value

    def count(self, key: str) -> int:
        """A count of persons, 0 too."""
        value = self._given.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_PERSONS:
            raise self.wrong(f"{key} must be a count of persons")
        return value

    def persons(self, key: str, least: int) -> int:
        """A count of persons that may be shown."""
        if (value := self.count(key)) < least:
            raise self.wrong(f"{key} is a small count that should not have left the site")
        return value

    def number(self, key: str) -> float:
        return float(self._array(key, ()))

    def vector(self, key: str, size: int) -> Array:
        return self._array(key, (size,))

    def matrix(self, key: str, size: int) -> Array:
        """A symmetric one without negative eigenvalues, as sums of products are."""
        matrix = self._array(key, (size, size))
        if not np.array_equal(matrix, matrix.T):
            raise self.wrong(f"{key} must be symmetric")
        check_products(matrix, self, key)
        return matrix

    def text(self, key: str, longest: int = 200) -> str:
        value = self._given.get(key)
        if not isinstance(value, str) or len(value) > longest:
            raise self.wrong(f"{key} must be a short text")
        return value

    def texts(self, key: str, most: int) -> tuple[str, ...]:
        value = self._given.get(key)
        if not isinstance(value, list) or len(value) > most or not all(_short(entry) for entry in value):
            raise self.wrong(f"{key} must be a list of at most {most} short texts")
        return tuple(value)

    def objects(self, key: str, most: int) -> list[dict[str, Any]]:
        value = self._given.get(key)
        if not isinstance(value, list) or len(value) > most or not all(isinstance(entry, dict) for entry in value):
            raise self.wrong(f"{key} must be a list of at most {most} objects")
        return value

    def wrong(self, what: str) -> Fault:
        return Fault(f"answer of {self.host}: {what}; is the same version of the tool there?")

    def _array(self, key: str, shape: tuple[int, ...]) -> Array:
        value = self._given.get(key)
        if not _has_shape(value, shape):
            sizes = " by ".join(map(str, shape))
            raise self.wrong(f"{key} must be {f'finite numbers, {sizes}' if shape else 'a finite number'}")
        return np.array(value, dtype=np.float64).reshape(shape)


def check_products(matrix: Array, answer: Answer, what: str = "products") -> None:
    """Raise :class:`Fault` unless the symmetric matrix can be one of sums of products: without negative eigenvalues."""
    diagonal = np.diag(matrix)
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    if (diagonal < 0).any() or np.linalg.eigvalsh(matrix / np.outer(scale, scale)).min(initial=0.0) < -1e-9 * len(
        matrix
    ):
        raise answer.wrong(f"{what} cannot be sums of products")


def same(answers: Iterable[tuple[str, Any]], what: str) -> Any:
    """The one value that all hosts have. Raises :class:`Fault` naming two hosts that differ."""
    (first, value), *others = answers
    for host, other in others:
        if other != value:
            raise Fault(f"{what} of {first} and {host} differ: make the datasets' descriptions agree")
    return value


def _short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 1000


def _has_shape(value: Any, shape: tuple[int, ...]) -> bool:
    if not shape:
        return isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
    size, *rest = shape
    return isinstance(value, list) and len(value) == size and all(_has_shape(entry, tuple(rest)) for entry in value)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
