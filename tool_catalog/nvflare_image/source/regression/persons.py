"""How few persons a sum may speak of (docs/tools.md).

A sum over rows gives single persons away where all rows but a few add the same to it: a category that three persons
have, or a column that is 0 for all but one. Nothing here looks at what the sums are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .faults import Fault

Array = npt.NDArray[np.float64]

SITE_SHARE = 3
"""a site's persons for each parameter, as DataSHIELD has it (nfilter.glm 0.33)"""
POOLED_SHARE = 10
"""all persons for each parameter; as many have to remain as degrees of freedom (ACRO; vantage6's GLM)"""


@dataclass(frozen=True)
class Group:
    """The smallest group of persons that sums of products of two columns speak of, and what it is."""

    persons: int
    what: str


def smallest_group(columns: Array, names: Sequence[str]) -> Group:
    """Over the sums of each column (rows by columns) and of each product of two.

    For a column: the rows whose value is not its most frequent one. For two: the rows where both are not 0, and where
    each has only two values, each of their four cells. Groups of nobody do not count.
    """
    groups = [Group(len(columns), "at all")]
    groups += [_others(column, name) for column, name in zip(columns.T, names, strict=True)]
    groups += _both(columns, names)
    groups += _cells(columns, names)
    return min((group for group in groups if group.persons), key=lambda group: group.persons)


def effective(weights: Array) -> float:
    """How many persons carry a sum with these weights: as many of equal weight as have the same variance (Kish)."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def check_group(group: Group, least: int) -> None:
    """Raise :class:`Fault` if the sums speak of fewer than ``least`` persons."""
    if group.persons < least:
        raise Fault(
            f"dataset: fewer than {least} persons (min_cell) here {group.what}: sums over them never leave; "
            "leave the term out, or join categories in the datasets' descriptions"
        )


def check_rows(rows: int, least: int) -> None:
    """Raise :class:`Fault` if a dataset has fewer than ``least`` rows."""
    if rows < least:
        raise Fault(f"dataset: fewer than {least} persons (min_cell) have all values: nothing about them may leave")


def check_site(parameters: int, persons: int) -> None:
    """Raise :class:`Fault` if a site has fewer persons than its sums could be solved for."""
    if parameters * SITE_SHARE > persons:
        raise Fault(
            f"formula: its {parameters} parameters are too many for the persons of this site, of which there must be "
            f"{SITE_SHARE} for each: leave terms out"
        )


def check_pooled(parameters: int, persons: int) -> None:
    """Raise :class:`Fault` if all sites together have too few persons for so many parameters."""
    if parameters * POOLED_SHARE > persons or persons - parameters < POOLED_SHARE:
        raise Fault(
            f"formula: its {parameters} parameters are too many for the persons of all sites together, of which there "
            f"must be {POOLED_SHARE} for each and {POOLED_SHARE} more than parameters: leave terms out or add datasets"
        )


def _others(column: Array, name: str) -> Group:
    _, counts = np.unique(column, return_counts=True)
    return Group(len(column) - int(counts.max(initial=0)), f"have another value of {name} than all others")


def _both(columns: Array, names: Sequence[str]) -> list[Group]:
    filled = (columns != 0).astype(float)
    return _of_pairs(filled.T @ filled, names, "have a value other than 0 in both {} and {}")


def _cells(columns: Array, names: Sequence[str]) -> list[Group]:
    two = [index for index, column in enumerate(columns.T) if len(np.unique(column)) == 2]
    high = (columns[:, two] == columns[:, two].max(axis=0, initial=-np.inf)).astype(float)
    cells = {"high": high, "low": 1 - high}
    named = [names[index] for index in two]
    text = "are in one cell of {} by {}"
    return [group for a in cells.values() for b in cells.values() for group in _of_pairs(a.T @ b, named, text)]


def _of_pairs(counts: Array, names: Sequence[str], text: str) -> list[Group]:
    return [
        Group(int(counts[a, b]), text.format(names[a], names[b]))
        for a in range(len(names))
        for b in range(a + 1, len(names))
    ]
