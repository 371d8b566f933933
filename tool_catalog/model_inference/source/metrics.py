"""How well a model does, over persons: shares with ``least`` persons on both sides, AUC, calibration in classes.

Numbers are in steps, as who brings the model can make two that differ for one person alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NEARLY_ALL = 0.9
"""share of a class with one outcome from which a host's rules have a person look"""
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""to which shares are rounded"""
FEWEST = 20
"""persons of the rarer outcome without whom no area under the curve is told"""


_CLASSES = ((100, "10 to 99"), (1000, "100 to 999"))


@dataclass(frozen=True)
class Predicted:
    """One probability, outcome and person to a record; each person has one record of each outcome at the most."""

    probabilities: npt.NDArray[np.float64]
    outcomes: npt.NDArray[np.bool_]
    persons: Sequence[str]


def share_of(name: str, right: int, persons: int, least: int) -> dict[str, Any]:
    """Of how many persons something is so: ``few`` are fewer than ``least``, be it nobody, ``most`` are all but few.

    Of ``some`` the share is told, in steps that each hold ``least`` persons.
    """
    if right < least or persons - right < least:
        return {"what": name, "extent": "few" if right < least else "most"}
    return {"what": name, "extent": "some", "persons": persons, "share": in_steps(right, persons, least)}


def class_of(rows: int, least: int) -> str:
    """Of a number of rows its class; ``few`` are fewer than ``least``, and than 10, be it none."""
    if rows < max(10, least):
        return "few"
    return next((name for end, name in _CLASSES if rows < end), "1000 or more")


def in_steps(right: int, persons: int, least: int) -> float:
    """The share, rounded to a step of at least ``least`` of the persons, and neither 0 nor 1."""
    step = next((step for step in STEPS if step * persons >= least), STEPS[-1])
    return round(min(max(round(right / persons / step) * step, step), 1 - step), 2)


def auc_of(predicted: Predicted) -> float | None:
    """The share of pairs of a positive and a negative that are in order, ties by half (Mann-Whitney).

    It is rounded to a step that is more than one person of the rarer outcome moves it by, and None where these are
    fewer than ``FEWEST``: the model is the researcher's own, and may be made to say something of one person alone.
    """
    positives = int(predicted.outcomes.sum())
    negatives = len(predicted.outcomes) - positives
    rarer = min(positives, negatives)
    if rarer < FEWEST:
        return None
    step = next(step for step in STEPS if step * rarer > 1)
    _, places, counts = np.unique(predicted.probabilities, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    ranks = float(middle[places][predicted.outcomes].sum())
    area = (ranks - positives * (positives + 1) / 2) / (positives * negatives)
    return round(round(area / step) * step, 2)


def calibration_of(predicted: Predicted, edges: Sequence[float], least: int) -> list[dict[str, Any]]:
    """Classes of probability with their persons, and the share of these that is positive, both in steps.

    What the model says within a class is not told: its mean would be the researcher's own number. Neighbours are joined
    until each has ``least`` persons of each outcome, and none nearly all of one.
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
    return [_class(predicted, run, least) for run in runs]


def _is_enough(predicted: Predicted, records: Sequence[int], least: int) -> bool:
    persons, positives = _persons(predicted, records)
    return positives >= least and persons - positives >= least and positives < NEARLY_ALL * persons


def _persons(predicted: Predicted, records: Sequence[int]) -> tuple[int, int]:
    """How many there are, and how many of these have a positive record."""
    everybody = {predicted.persons[number] for number in records}
    positive = {predicted.persons[number] for number in records if predicted.outcomes[number]}
    return len(everybody), len(positive)


def _class(predicted: Predicted, run: Sequence[int], least: int) -> dict[str, Any]:
    first, last, *records = run
    persons, positives = _persons(predicted, records)
    rounded = persons // least * least
    share = in_steps(round(positives / persons * rounded), rounded, least)
    return {"first": first, "last": last, "persons": rounded, "share": share}
