"""What of a feature may be told: that a host's rules would take as well, and that no two persons carry."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import floor, sqrt

DOMINANCE, P_PERCENT, NEARLY_ALL = 0.9, 0.1, 0.9
"""shares from which a host's rules have a person look (docs/tools.md, "What leaves")"""
_NOTHING = 1e-9
_ROUNDED = 0.005


def is_dominated(persons: int, mean: float, sum_of_squares: float) -> bool:
    """Whether two persons may have nearly all of a sum, by number, mean and squared deviations (P. A. Samuelson)."""
    total = abs(mean) * persons
    one = abs(mean) + sqrt(sum_of_squares * (persons - 1) / persons)
    two = 2 * abs(mean) + sqrt(2 * sum_of_squares * max(0, persons - 2) / persons)
    return two >= DOMINANCE * total or total - two < P_PERCENT * one


def is_carried_by_two(sums_of_persons: Iterable[float]) -> bool:
    """Whether two persons do have nearly all, all their lesions together; sizes, so that signs do not hide it."""
    sizes = sorted(map(abs, sums_of_persons))
    return sum(sizes[-2:]) >= DOMINANCE * sum(sizes)


def is_one_value(persons: int, mean: float, sum_of_squares: float) -> bool:
    return sum_of_squares <= _NOTHING * persons * mean * mean


def is_like_a_count(persons: int, mean: float, sum_of_squares: float, least: int) -> bool:
    """Whether it could be the mean of 0 and 1 (or 1 and 2), which says how many have either; rules cannot tell."""
    share = mean - floor(mean)
    part = round(share * persons)
    off = min(abs(sum_of_squares / many - share * (1 - share)) for many in (persons, max(1, persons - 1)))
    return 0 < share < 1 and min(part, persons - part) < least and off < 1 / persons + _ROUNDED


def is_plain(cells: Sequence[int], around: Collection[int], least: int) -> bool:
    """Whether no cell has nearly all, and no count around looks like a whole of which a few are left."""
    if len(cells) < 2 or max(cells) >= NEARLY_ALL * sum(cells):
        return False
    return not any(0 < whole - sum(cells) < least for whole in around)
