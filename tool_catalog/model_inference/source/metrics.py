"""How well a model does, over persons: shares with ``least`` persons on both sides, AUC, calibration in classes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NEARLY_ALL = 0.9
"""share of a class with one outcome from which a host's rules have a person look"""


@dataclass(frozen=True)
class Predicted:
    """One probability, outcome and person to a record; each person has one record of each outcome at the most."""

    probabilities: npt.NDArray[np.float64]
    outcomes: npt.NDArray[np.bool_]
    persons: Sequence[str]


def share_of(name: str, right: int, persons: int, least: int) -> dict[str, Any]:
    """Of how many persons something is so: as a class, and as a number where neither side is of a few."""
    if right in (0, persons):
        return {"what": name, "extent": "all" if right else "none"}
    if right < least or persons - right < least:
        return {"what": name, "extent": "few" if right < least else "most"}
    return {"what": name, "extent": "some", "persons": persons, "share": right / persons}


def auc_of(predicted: Predicted) -> float:
    """The share of pairs of a positive and a negative that are in order, ties by half (Mann-Whitney), to two digits.

    More digits would tell what one person's record adds: the model is the researcher's own.
    """
    _, places, counts = np.unique(predicted.probabilities, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    positives = predicted.outcomes.sum()
    ranks = middle[places][predicted.outcomes].sum()
    negatives = len(predicted.outcomes) - positives
    return round(float((ranks - positives * (positives + 1) / 2) / (positives * negatives)), 2)


def calibration_of(predicted: Predicted, edges: Sequence[float], least: int) -> list[dict[str, Any]]:
    """Classes of probability with their persons, how many of these are positive, and the mean that was predicted.

    Neighbours are joined until each has ``least`` persons of each outcome, and none nearly all of one.
    """
    places = [bisect_right(edges, value) for value in predicted.probabilities.tolist()]
    runs: list[list[int]] = []
    begin, here = 0, list[int]()
    for place in range(len(edges) + 1):
        here += [number for number, its in enumerate(places) if its == place]
        if _is_enough(predicted, here, least):
            runs.append([begin, place, *here])
            begin, here = place + 1, []
    if runs and begin <= len(edges):
        first, _, *last = runs.pop()
        joined = [first, len(edges), *last, *here]
        while runs and not _is_enough(predicted, joined[2:], least):
            first, _, *last = runs.pop()
            joined = [first, len(edges), *last, *joined[2:]]
        runs += [joined] if _is_enough(predicted, joined[2:], least) else []
    return [_class(predicted, run) for run in runs]


def _is_enough(predicted: Predicted, records: Sequence[int], least: int) -> bool:
    persons, positives = _persons(predicted, records)
    return positives >= least and persons - positives >= least and positives < NEARLY_ALL * persons


def _persons(predicted: Predicted, records: Sequence[int]) -> tuple[int, int]:
    """How many there are, and how many of these have a positive record."""
    everybody = {predicted.persons[number] for number in records}
    positive = {predicted.persons[number] for number in records if predicted.outcomes[number]}
    return len(everybody), len(positive)


def _class(predicted: Predicted, run: Sequence[int]) -> dict[str, Any]:
    first, last, *records = run
    persons, positives = _persons(predicted, records)
    mean = round(float(predicted.probabilities[list(records)].mean()), 2)
    return {"first": first, "last": last, "persons": persons, "positives": positives, "mean_predicted": mean}
