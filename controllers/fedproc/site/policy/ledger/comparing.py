"""Two cohorts of one dataset, held against each other. Pure: sets of persons are whole numbers, a bit for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedproc.site.policy.ledger.claims import Doubt

ROWS = "rows"
"""persons that are told apart by what stands in a row: who is corrected is another one"""


@dataclass(frozen=True)
class Sets:
    """A cohort's persons by the way in which they are told apart; ``version`` is that of what it was taken from."""

    version: str
    by: Mapping[str, int]


def doubt_of(new: Sets | None, old: Sets | None, floor: int) -> Doubt | None:
    """Whether they differ by a few persons, one way or the other; None is that the dataset was not used at all."""
    if new is not None and old is not None and new.version == old.version:
        return None
    first, second = (None if each is None else each.by for each in (new, old))
    present = [set(each) for each in (first, second) if each is not None]
    ways = set.intersection(*present) if present else set()
    if not ways:
        return Doubt.unknown
    doubts = {_of_way(way, (first or {}).get(way, 0), (second or {}).get(way, 0), floor) for way in ways}
    return next((doubt for doubt in (Doubt.difference, Doubt.unknown) if doubt in doubts), None)


def _of_way(way: str, new: int, old: int, floor: int) -> Doubt | None:
    if any(0 < _count(some) < floor for some in (new & ~old, old & ~new)):
        return Doubt.difference
    if way != ROWS or not new or not old:
        return None
    if 0 < abs(_count(new) - _count(old)) < floor:
        return Doubt.difference
    common = _count(new & old)
    return Doubt.unknown if 2 * common < min(_count(new), _count(old)) else None


def _count(some: int) -> int:
    return some.bit_count()
