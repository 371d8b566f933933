"""What one site says of its lesions: sums, classes and quantiles over persons, never a lesion's own value."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from classes import cells_of
from imaging.cells import named, persons_of
from imaging.faults import Fault
from judging import is_carried_by_two, is_dominated, is_like_a_count, is_one_value
from lesions import Lesion, Lesions
from request import Request

_STEPS = ((1, "none"), (10, "1 to 9"), (100, "10 to 99"), (1000, "100 to 999"))


def statistics_of(lesions: Lesions, request: Request) -> dict[str, Any]:
    """All of it. Raises :class:`Fault` where fewer than ``min_cell`` persons have a lesion, or modalities are mixed."""
    persons = persons_of(lesions.found)
    if persons < request.least:
        raise Fault(f"fewer than {request.least} persons (min_cell) have a lesion that can be measured here")
    modalities = {lesion.modality for lesion in lesions.found}
    if len(modalities) > 1:
        raise Fault("lesions are on images of several modalities, whose values do not compare: choose one (modality)")
    told = [_feature(name, lesions.found, persons, request) for name in sorted(request.features)]
    return {
        "modality": named(modalities.pop(), 16),
        "persons": persons,
        "lesions": len(lesions.found),
        "unused_lesions": next((name for end, name in _STEPS if lesions.unused < end), "1000 or more"),
        "features": told,
    }


def _feature(name: str, lesions: Sequence[Lesion], everybody: int, request: Request) -> dict[str, Any]:
    """``withheld`` says why there are no moments, or nothing at all."""
    values = [(lesion.person, lesion.features[name]) for lesion in lesions if name in lesion.features]
    persons = len({person for person, _ in values})
    if persons < request.least or 0 < everybody - persons < request.least:
        return {"feature": name, "withheld": "undefined for some", "classes": [], "quantiles": []}
    moments, why = _moments(values, persons, request.least)
    around = {everybody, persons}
    return {
        "feature": name,
        **({"moments": moments} if moments else {}),
        "withheld": why,
        "classes": cells_of(values, request.features[name], around, request.least),
        "quantiles": [] if why == "one value" else _quantiles(values, persons, request),
    }


def _moments(values: Sequence[tuple[str, float]], persons: int, least: int) -> tuple[dict[str, Any] | None, str]:
    numbers = [value for _, value in values]
    mean = math.fsum(numbers) / len(numbers)
    squares = math.fsum((value - mean) ** 2 for value in numbers)
    by_person: dict[str, float] = defaultdict(float)
    for person, value in values:
        by_person[person] += abs(value)
    if is_one_value(persons, mean, squares):
        return None, "one value"
    if is_dominated(persons, mean, squares) or is_carried_by_two(by_person.values()):
        return None, "dominated"
    if is_like_a_count(persons, mean, squares, least):
        return None, "like a count"
    return {"persons": persons, "lesions": len(numbers), "mean": mean, "sum_of_squares": squares}, "nothing"


def _quantiles(values: Sequence[tuple[str, float]], persons: int, request: Request) -> list[dict[str, Any]]:
    """Those with ``min_cell`` persons beyond them on both sides and between; else of each lesion's own value."""
    if len(values) != persons:
        return []  # of persons with several lesions nothing is known by the number of values beyond
    found: list[dict[str, Any]] = []
    before = Fraction(0)
    for quantile in request.quantiles:
        exact = Fraction(repr(quantile))
        if (exact - before) * persons >= request.least <= (1 - exact) * persons:
            value = float(np.quantile([value for _, value in values], quantile))
            found.append({"quantile": quantile, "persons": persons, "value": value})
            before = exact
    return found
