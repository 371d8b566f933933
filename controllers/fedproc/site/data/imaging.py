"""What a dataset's images are, in numbers that the host lets out: of persons, rounded by the site's floor."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from fedproc.contract.wire.datasets import NAME_LENGTH, ImagingCounts, ImagingSummary
from fedproc.site.data.consistency import PERSON

_MOST = 30
"""values of an attribute that are named"""
_ATTRIBUTES = ("modality", "body_part", "manufacturer", "sex")
_CLASS_YEARS = 10


@dataclass(frozen=True)
class Images:
    """The exact numbers, which stay at the host: ``by`` attribute and value, how many persons have it."""

    persons: int
    studies: int
    series: int
    by: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    segmentations: int = 0
    """series that mark what is in images, and are none; ``series`` does not count them"""
    segmented: int = 0
    """persons of whom there is one"""


def images_in(db: sqlite3.Connection) -> Images | None:
    """Those of an index; None if there are none. All series without PatientID are one person's."""
    persons, studies, series, segmentations, segmented = db.execute(_NUMBERS).fetchone()
    if not series:
        return None
    by = {name: dict(db.execute(_BY.format(value=f"COALESCE(NULLIF({name}, ''), '?')"))) for name in _ATTRIBUTES}
    by["age"] = _classes(db)
    return Images(persons, studies, series - segmentations, by, segmentations, segmented)


_MARKS = "modality IN ('SEG', 'RTSTRUCT')"
_NUMBERS = f"""
SELECT COUNT(DISTINCT {PERSON}), COUNT(DISTINCT study), COUNT(*), COALESCE(SUM({_MARKS}), 0),
       COUNT(DISTINCT CASE WHEN {_MARKS} THEN {PERSON} END)
FROM series"""  # noqa: S608
_BY = "SELECT {value} AS value, COUNT(DISTINCT " + PERSON + ") FROM series GROUP BY 1"  # noqa: S608


def _classes(db: sqlite3.Connection) -> dict[str, int]:
    """Persons by age: of one who was imaged at several ages, each class counts."""
    rows = db.execute(_BY.format(value=f"CAST(age / {_CLASS_YEARS} AS INTEGER)"))
    found: Counter[str] = Counter()
    for number, persons in rows:
        found[age_class(number)] += persons
    return dict(found)


def age_class(number: int | None) -> str:
    """The name of a class of ten years."""
    if number is None:
        return "?"
    low = number * _CLASS_YEARS
    return "90+" if low >= 90 else f"{low}-{low + _CLASS_YEARS - 1}"


def rounded(images: Images, floor: int) -> ImagingSummary:
    """What leaves the host: each number is the nearest multiple of ``floor``; what fewer persons have is left out."""
    if images.persons < floor:
        return ImagingSummary(floor=floor)
    return ImagingSummary(
        floor=floor,
        persons=_nearest(images.persons, floor),
        studies=_nearest(images.studies, floor),
        series=_nearest(images.series, floor),
        segmentations=_nearest(images.segmentations, floor) if images.segmented >= floor else None,
        **{name: _counts(values, floor) for name, values in images.by.items()},
    )


def _counts(values: Mapping[str, int], floor: int) -> ImagingCounts:
    most = sorted((item for item in values.items() if item[1] >= floor), key=lambda item: (-item[1], item[0]))
    named = {value[:NAME_LENGTH]: _nearest(persons, floor) for value, persons in most[:_MOST]}
    return ImagingCounts(persons=named, more=len(named) < len(values))


def _nearest(number: int, floor: int) -> int:
    return (number + floor // 2) // floor * floor


def rounded_again(summary: ImagingSummary, floor: int) -> ImagingSummary:
    """What another program has rounded by its own floor, by this host's: what may be fewer persons is left out."""
    least = floor + summary.floor // 2
    if summary.persons is None or summary.persons < least:
        return ImagingSummary(floor=floor)
    numbers = {name: _nearest(getattr(summary, name) or 0, floor) for name in ("persons", "studies", "series")}
    if summary.segmentations is not None and summary.segmentations >= least:
        numbers["segmentations"] = _nearest(summary.segmentations, floor)
    counts = {name: _counted_again(getattr(summary, name), least, floor) for name in (*_ATTRIBUTES, "age")}
    return ImagingSummary(floor=floor, **numbers, **counts)


def _counted_again(counts: ImagingCounts, least: int, floor: int) -> ImagingCounts:
    named = {value: _nearest(persons, floor) for value, persons in counts.persons.items() if persons >= least}
    return ImagingCounts(persons=named, more=counts.more or len(named) < len(counts.persons))
