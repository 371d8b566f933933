"""Sums over rows from which a linear regression follows, kept as means and sums of products of deviations from them.

Plain sums of products lose the digits that a mean far from 0 takes; deviations do not (T. F. Chan, G. H. Golub,
R. J. LeVeque, The American Statistician 37 (1983) 242-247).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from regression.answers import Answer, check_products

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """``n`` rows of the model's columns and, last, the outcome: their ``means``, and by pair of columns the sum of
    the ``products`` of deviations from them."""

    n: int
    means: Array
    products: Array

    def as_json(self) -> dict[str, Any]:
        """Each term, and each pair of terms, with the persons that it is a sum over."""
        squares, pairs = np.diag(self.products).tolist(), combinations(range(len(self.means)), 2)
        return {
            "terms": [
                {"n": self.n, "mean": mean, "sum_of_squares": square}
                for mean, square in zip(self.means.tolist(), squares, strict=True)
            ],
            "pairs": [{"first": a, "second": b, "n": self.n, "product": float(self.products[a, b])} for a, b in pairs],
        }

    @staticmethod
    def read(answer: Answer, size: int, least: int) -> Sums:
        """What a host answered of ``size`` terms. Raises Fault naming host and field."""
        n = answer.persons("n", least)
        terms = [Answer(answer.host, term) for term in answer.objects("terms", size)]
        pairs = [Answer(answer.host, pair) for pair in answer.objects("pairs", size * (size - 1) // 2)]
        if len(terms) != size or len(pairs) != size * (size - 1) // 2:
            raise answer.wrong(f"terms or pairs are not those of {size} terms")
        products = np.diag([_term(term, n, "sum_of_squares") for term in terms])
        for pair, (a, b) in zip(pairs, combinations(range(size), 2), strict=True):
            pair.check(("product",), first=a, second=b, n=n)
            products[a, b] = products[b, a] = pair.number("product")
        check_products(products, answer)
        return Sums(n, np.array([term.number("mean") for term in terms]), products)

    @staticmethod
    def of(rows: Array) -> Sums:
        means = np.array([math.fsum(column) / len(rows) for column in rows.T])
        deviations = rows - means
        products = deviations.T @ deviations
        return Sums(len(rows), means, (products + products.T) / 2)

    def __add__(self, other: Sums) -> Sums:
        """Those of both groups' rows."""
        n = self.n + other.n
        gap = other.means - self.means
        shift = np.outer(gap, gap) * (self.n * other.n / n)
        return Sums(n, self.means + gap * other.n / n, self.products + other.products + shift)

    def about(self, point: float | None) -> Array:
        """The sums of products of deviations from the means, or (0) of the values themselves."""
        if point is None:
            return self.products
        return self.products + self.n * np.outer(self.means, self.means)


def _term(term: Answer, n: int, key: str) -> float:
    term.check(("mean", "sum_of_squares"), n=n)
    return term.number(key)
