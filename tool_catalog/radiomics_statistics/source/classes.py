"""Histograms in classes that are asked for; neighbours of few persons are joined, so that no cell is of a few."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from judging import is_plain

LEAST_OF_RULES = 10
"""persons to one bin of a histogram, whatever the floor"""
Cell = dict[str, Any]


def cells_of(
    lesions: Iterable[tuple[str, float]], edges: Sequence[float], around: Collection[int], least: int
) -> list[Cell]:
    """Classes ``first`` to ``last`` (0 is below the first end) with persons and lesions; none where all would be one.

    ``lesions`` are persons and values; ``around`` counts of persons that are told beside.
    """
    persons: list[set[str]] = [set() for _ in range(len(edges) + 1)]
    count = [0] * (len(edges) + 1)
    for person, value in lesions:
        place = bisect_right(edges, value)
        persons[place].add(person)
        count[place] += 1
    runs = _runs(persons, max(least, LEAST_OF_RULES))
    cells = [
        {
            "first": first,
            "last": last,
            "persons": len(set().union(*persons[first : last + 1])),
            "lesions": sum(count[first : last + 1]),
        }
        for first, last in runs
    ]
    return cells if is_plain([cell["persons"] for cell in cells], around, least) else []


def _runs(persons: Sequence[set[str]], least: int) -> list[tuple[int, int]]:
    """Neighbours, from below, until each run has enough persons; what is left over joins the last run."""
    runs: list[tuple[int, int]] = []
    begin, here = 0, set[str]()
    for place, its in enumerate(persons):
        here |= its
        if len(here) >= least:
            runs.append((begin, place))
            begin, here = place + 1, set()
    if runs and begin < len(persons):
        runs[-1] = (runs[-1][0], len(persons) - 1)
    return runs


def added(histograms: Sequence[Sequence[Mapping[str, Any]]], around: Collection[int], least: int) -> list[Cell]:
    """The exact sum over sites: its classes end where those of all sites end."""
    if not histograms or not all(histograms):
        return []
    ends = sorted(set.intersection(*({cell["last"] for cell in cells} for cells in histograms)))
    cells = []
    first = 0
    for last in ends:
        inside = [cell for cells_ in histograms for cell in cells_ if first <= cell["first"] and cell["last"] <= last]
        sums = {name: sum(cell[name] for cell in inside) for name in ("persons", "lesions")}
        cells.append({"first": first, "last": last, **sums})
        first = last + 1
    return cells if is_plain([cell["persons"] for cell in cells], around, least) else []


def class_of(quantile: float, cells: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The class in which a quantile of the lesions lies."""
    wanted, seen = quantile * sum(cell["lesions"] for cell in cells), 0
    for cell in cells:
        seen += cell["lesions"]
        if wanted <= seen:
            return cell
    return None
