"""Selections that fit nobody, as far as hosts tell what the images of their datasets are. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

from fedproc.contract.wire.datasets import ImagingCounts, ImagingSummary
from fedproc.contract.wire.selection import Selection

_COUNTED = ("modality", "body_part", "manufacturer", "sex")
_SHOWN = 8
_CLASS_YEARS = 10


@dataclass(frozen=True)
class Misfit:
    """A part of a selection that nobody fits whom the host counts.

    certain: no image fits; else some may, of fewer persons than the host's floor, or of values that it does not name
    """

    text: str
    certain: bool


def misfits(selection: Selection, images: ImagingSummary) -> Iterator[Misfit]:
    """Each attribute of which no value that is selected is among those that the host names."""
    if images.persons is None:
        return
    for name in _COUNTED:
        counts, wanted = getattr(images, name), getattr(selection, name)
        there = {value.lower() for value in counts.persons}
        if wanted and _is_told(counts) and not any(value.lower() in there for value in wanted):
            yield _misfit(name, ",".join(wanted[:_SHOWN]), counts, images.floor)
    low, high = selection.age_from, selection.age_to
    if (low is not None or high is not None) and _is_told(images.age):
        wide = (-inf if low is None else low, inf if high is None else high)
        if not any(_overlaps(name, *wide) for name in images.age.persons):
            given = "..".join("" if end is None else f"{end:g}" for end in (low, high))
            yield _misfit("age", given, images.age, images.floor)


def _is_told(counts: ImagingCounts) -> bool:
    """Whether a host says anything of this attribute; one that cannot count it says neither."""
    return bool(counts.persons) or counts.more


def _overlaps(name: str, low: float, high: float) -> bool:
    """Whether a class of ages (``40-49``, ``90+``) has one from ``low`` to ``high``; any of another name may."""
    first = name.removesuffix("+").partition("-")[0]
    if not first.isdigit():
        return name != "?"
    end = inf if name.endswith("+") else int(first) + _CLASS_YEARS
    return int(first) <= high and low < end


def _misfit(name: str, given: str, counts: ImagingCounts, floor: int) -> Misfit:
    there = _listed(counts.persons)
    if counts.more:
        text = f"names no images with {name}={given} (it names {there}); fewer than {floor} persons would be refused"
    else:
        text = f"has no images with {name}={given} (it has {there})"
    return Misfit(text, not counts.more)


def _listed(values: Iterable[str]) -> str:
    found = sorted(values)
    return ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "") if found else "none"
