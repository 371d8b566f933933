"""Counts of persons and series by attribute, in which no number speaks of a few persons."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ATTRIBUTES = ("modality", "body_part", "manufacturer", "sex", "age")
OTHERS = "(others)"


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
    persons = {one.patient for one in series}
    if len(persons) < least:
        raise CountingError(f"fewer than {least} persons (min_cell) have images here")
    return {
        "persons": len(persons),
        "studies": len({(one.patient, one.study) for one in series}),
        "series": len(series),
        **{name: _counts(series, name, edges, least) for name in ATTRIBUTES},
    }


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
    joined = _joined(by_value, least)
    return [_count(value, joined[value]) for value in sorted(joined)]


def _joined(by_value: Mapping[str, list[Series]], least: int) -> dict[str, list[Series]]:
    """Values of few persons are taken together, with the next larger one if they are few even so: what is left out
    could else be told from the whole."""
    ordered = sorted(by_value, key=lambda value: (_persons(by_value[value]), value))
    small = [value for value in ordered if _persons(by_value[value]) < least]
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
    return {**added, **{name: _added([summary[name] for summary in found]) for name in ATTRIBUTES}}


def _added(counts: Iterable[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    total: dict[str, dict[str, Any]] = {}
    for site in counts:
        for count in site:
            entry = total.setdefault(count["value"], {"value": count["value"], "persons": 0, "series": 0})
            entry["persons"] += count["persons"]
            entry["series"] += count["series"]
    return [total[value] for value in sorted(total)]
