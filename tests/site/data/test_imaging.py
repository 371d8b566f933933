"""What leaves of a dataset's images: numbers of persons that the site's floor has rounded, and no other."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedproc.contract.wire.datasets import ImagingSummary
from fedproc.site.data.consistency import SCHEMA
from fedproc.site.data.imaging import Images, age_class, images_in, rounded, rounded_again

MANY = Images(
    persons=57, studies=61, series=140,
    by={"modality": {"CT": 48, "MR": 12, "US": 4}, "age": {"40-49": 57}, "sex": {"F": 57}},
)  # fmt: skip


def test_numbers_are_multiples_of_the_floor_and_few_persons_are_not_named() -> None:
    found = rounded(MANY, 10)
    assert (found.persons, found.studies, found.series) == (60, 60, 140)
    assert found.modality.persons == {"CT": 50, "MR": 10}
    assert (found.modality.more, found.age.more) == (True, False)


def test_of_few_persons_nothing_is_said() -> None:
    assert rounded(Images(9, 9, 900, {"modality": {"CT": 9}}), 10) == ImagingSummary(floor=10)


def test_segmentations_are_told_apart_from_series_of_images_and_not_of_few_persons() -> None:
    marked = Images(20, 20, 40, {}, segmentations=20, segmented=10)
    assert (rounded(marked, 10).series, rounded(marked, 10).segmentations) == (40, 20)
    assert rounded(marked, 11).segmentations is None
    assert rounded(MANY, 10).segmentations is None
    again = rounded_again(rounded(marked, 10), 10)
    assert (again.series, again.segmentations) == (40, 20)
    assert rounded_again(rounded(marked, 10), 20).segmentations is None


def test_index_counts_segmentations_apart() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA)
        rows = [("1", "CT", "A"), ("2", "SEG", "A"), ("3", "RTSTRUCT", "B"), ("4", None, "B"), ("5", "SEG", None)]
        db.executemany("INSERT INTO series (series, modality, patient, files, bytes) VALUES (?, ?, ?, 1, 1)", rows)
        found = images_in(db)
    assert found is not None
    assert (found.persons, found.series, found.segmentations, found.segmented) == (3, 2, 3, 3)


@pytest.mark.slow
@given(
    floor=st.integers(1, 50),
    persons=st.integers(1, 500),
    counts=st.dictionaries(st.text(max_size=300), st.integers(1, 500), max_size=150),
)
def test_no_number_is_below_the_floor_or_exact(floor: int, persons: int, counts: dict[str, int]) -> None:
    found = rounded(Images(persons, persons, persons, {"manufacturer": counts}), floor)
    found.model_dump_json()
    numbers = [*found.manufacturer.persons.values(), *filter(None, (found.persons, found.studies, found.series))]
    assert all(number >= floor and number % floor == 0 for number in numbers)
    assert persons >= floor or found == ImagingSummary(floor=floor)


@pytest.mark.parametrize(("number", "name"), [(None, "?"), (0, "0-9"), (4, "40-49"), (9, "90+"), (12, "90+")])
def test_ages_are_in_classes_of_ten_years(number: int | None, name: str) -> None:
    assert age_class(number) == name
