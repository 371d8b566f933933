"""Counts of persons and series by attribute, in which no number speaks of a few persons."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ATTRIBUTES = ("modality", "body_part", "manufacturer", "sex", "age")
OTHERS = "(others)"
MARKS = ("RTSTRUCT", "SEG")
"""modalities of series that mark what is in images, and are none"""
MEANING = {
    "persons": "persons with images; each patient id counts once",
    "studies": "studies with images",
    "series": "series of images; those that only mark what is in images are under segmentations",
    "segmentations": "persons and series with marks in images (SEG, RTSTRUCT); a kind of few persons is left out",
    "value": "as the images have it; longer ones are cut and end in ...; ? stands for none",
    "others": "under (others) are values of few persons taken together, and those beyond the most frequent ones",
    "several": "a person with images of several values counts for each of them",
}
_CUT = "..."
_MOST = {"modality": 16, "body_part": 30, "manufacturer": 30, "sex": 5, "age": 17}
"""values of an attribute that are named, as the tool declares"""
_SEXES = ("F", "M", "O")
_OTHER_CHARACTERS = re.compile(r"[^A-Za-z0-9 ().,_+&/?-]+")


class CountingError(Exception):
    """The images cannot be counted; the text says nothing of any person."""


@dataclass(frozen=True)
class Series:
    """One series; ``age`` in years."""

    patient: str
    study: str
    modality: str
    body_part: str
    manufacturer: str
    sex: str
    age: float | None


def summary_of(series: Sequence[Series], edges: Sequence[float], least: int) -> dict[str, Any]:
    """All counts of one site. Raises :class:`CountingError` where fewer than ``least`` persons were imaged."""
    images = [one for one in series if one.modality not in MARKS]
    persons = {one.patient for one in images}
    if len(persons) < least:
        raise CountingError(f"fewer than {least} persons (min_cell) have images here")
    return {
        "persons": len(persons),
        "studies": len({(one.patient, one.study) for one in images}),
        "series": len(images),
        **{name: _counts(images, name, edges, least) for name in ATTRIBUTES},
        "segmentations": _segmentations(series, least),
    }


def named(text: str, most: int) -> str:
    """A value of an image as the tool declares it: so many plain characters at most; ``?`` where there is none.

    What is longer is cut, and ends in ``...``.
    """
    plain = " ".join(_OTHER_CHARACTERS.sub(" ", text).split())
    return (plain if len(plain) <= most else plain[: most - len(_CUT)].rstrip() + _CUT) or "?"


def sex_of(text: str) -> str:
    """``F``, ``M``, ``O``, or ``?`` for whatever else stands there."""
    return text if text in _SEXES else "?"


def age_class(age: float | None, edges: Sequence[float]) -> str:
    """The class that an age lies in, such as 40-49; below the first edge, from the last on."""
    if age is None:
        return "?"
    place = bisect_right(edges, age)
    if place == 0:
        return f"below {edges[0]:g}"
    return f"{edges[-1]:g} or more" if place == len(edges) else f"{edges[place - 1]:g}-{edges[place] - 1:g}"


def _counts(series: Sequence[Series], name: str, edges: Sequence[float], least: int) -> list[dict[str, Any]]:
    by_value: dict[str, list[Series]] = {}
    for one in series:
        value = age_class(one.age, edges) if name == "age" else getattr(one, name)
        by_value.setdefault(value, []).append(one)
    joined = _joined(by_value, least, _MOST[name])
    return [_count(value, joined[value]) for value in sorted(joined)]


def _segmentations(series: Iterable[Series], least: int) -> list[dict[str, Any]]:
    """What marks images, by kind. No whole is told, so that one of few persons can be left out."""
    by_kind = {kind: [one for one in series if one.modality == kind] for kind in MARKS}
    return [_count(kind, found) for kind, found in by_kind.items() if _persons(found) >= least]


def _joined(by_value: Mapping[str, list[Series]], least: int, most: int) -> dict[str, list[Series]]:
    """Values of few persons, and those beyond the ``most`` frequent ones, are taken together, with the next larger one
    if they are few even so: what is left out could else be told from the whole."""
    ordered = sorted(by_value, key=lambda value: (_persons(by_value[value]), value))
    rare = max(0, len(ordered) - most + 1) if len(ordered) > most else 0
    small = [value for place, value in enumerate(ordered) if place < rare or _persons(by_value[value]) < least]
    others = [one for value in small for one in by_value[value]]
    while small and _persons(others) < least and len(small) < len(ordered):
        others += by_value[ordered[len(small)]]
        small.append(ordered[len(small)])
    alone = {value: by_value[value] for value in ordered[len(small) :]}
    return {**alone, OTHERS: others} if small else alone


def _persons(series: Iterable[Series]) -> int:
    return len({one.patient for one in series})


def _count(value: str, series: Sequence[Series]) -> dict[str, Any]:
    return {"value": value, "persons": _persons(series), "series": len(series)}


def together(summaries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum over sites, which have different persons."""
    found = list(summaries)
    added = {name: sum(summary[name] for summary in found) for name in ("persons", "studies", "series")}
    return {**added, **{name: _added([summary[name] for summary in found]) for name in (*ATTRIBUTES, "segmentations")}}


def _added(counts: Iterable[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    total: dict[str, dict[str, Any]] = {}
    for site in counts:
        for count in site:
            entry = total.setdefault(count["value"], {"value": count["value"], "persons": 0, "series": 0})
            entry["persons"] += count["persons"]
            entry["series"] += count["series"]
    return [total[value] for value in sorted(total)]
