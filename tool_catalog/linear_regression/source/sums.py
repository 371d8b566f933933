"""Sums over rows from which a linear regression follows, kept as means and sums of products of deviations from them.

Plain sums of products lose the digits that a mean far from 0 takes; deviations do not (T. F. Chan, G. H. Golub,
R. J. LeVeque, The American Statistician 37 (1983) 242-247).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from regression.answers import Answer, check_products
from secure_sums.adding import mean_and_squares, persons
from secure_sums.faults import NoSumError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """``n`` rows of the model's columns and, last, the outcome: their ``means``, and by pair of columns the sum of
    the ``products`` of deviations from them."""

    n: int
    means: Array
    products: Array

    def as_json(self) -> dict[str, Any]:
        """Each term, and each pair of terms, in the order of combinations, with the persons that it is a sum over."""
        squares, pairs = np.diag(self.products).tolist(), combinations(range(len(self.means)), 2)
        return {
            "terms": [
                {"n": self.n, "mean": mean, "sum_of_squares": square}
                for mean, square in zip(self.means.tolist(), squares, strict=True)
            ],
            "pairs": [{"n": self.n, "product": float(self.products[a, b])} for a, b in pairs],
        }

    def as_addends(self) -> dict[str, Any]:
        """The same for hosts that mask their numbers and add them up: products are about 0, in two numbers each, as one
        would lose the digits that deviations from means have."""
        told = self.as_json()
        for pair, (one, other) in zip(told["pairs"], combinations(self.means.tolist(), 2), strict=True):
            apart = self.n * Fraction(one) * Fraction(other)
            about_zero = Fraction(pair["product"]) + apart
            pair["product"] = float(about_zero)
            pair["rest"] = float(about_zero - Fraction(pair["product"]))
        return told

    @staticmethod
    def of_totals(totals: Mapping[str, Any], size: int) -> Sums:
        """Those of all hosts' rows, from what their masked addends of ``size`` terms add up to. Raises NoSumError."""
        n, terms, pairs = totals["n"], totals["terms"], totals["pairs"]
        if len(terms) != size or len(pairs) != size * (size - 1) // 2 or not persons(n):
            raise NoSumError(f"terms or pairs are not those of {size} terms")
        found = [mean_and_squares(n, term["mean"], term["sum_of_squares"]) for term in terms]
        products = np.diag([float(squares) for _, squares in found])
        for pair, (a, b) in zip(pairs, combinations(range(size), 2), strict=True):
            about_means = pair["product"] + pair["rest"] - found[a][0] * found[b][0] * n
            products[a, b] = products[b, a] = float(about_means)
        return Sums(persons(n), np.array([float(mean) for mean, _ in found]), products)

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
            pair.check(("product",), n=n)
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
