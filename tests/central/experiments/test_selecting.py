"""What of a selection fits nobody, by what a host tells of its images."""

from __future__ import annotations

from typing import Any

import pytest

from fedproc.central.experiments.selecting import misfits
from fedproc.contract.wire.datasets import ImagingCounts, ImagingSummary
from fedproc.contract.wire.selection import Selection

AGES = ImagingCounts(persons={"40-49": 20, "60-69": 30})
IMAGES = ImagingSummary(
    floor=10, persons=50, modality=ImagingCounts(persons={"CT": 40, "MR": 20}), age=AGES,
    manufacturer=ImagingCounts(persons={"ACME": 40}, more=True),
)  # fmt: skip


@pytest.mark.parametrize(
    ("selected", "told"),
    [
        ({"modality": ["ct", "US"]}, []),
        ({"modality": ["US"]}, [("has no images with modality=US (it has CT, MR)", True)]),
        ({"sex": ["X"]}, []),
        ({"age_from": 45, "age_to": 50}, []),
        ({"age_from": 50, "age_to": 59}, [("has no images with age=50..59 (it has 40-49, 60-69)", True)]),
        ({"age_from": 69.5}, []),
        ({"age_from": 70}, [("has no images with age=70.. (it has 40-49, 60-69)", True)]),
        (
            {"manufacturer": ["Other"]},
            [
                (
                    "names no images with manufacturer=Other (it names ACME); fewer than 10 persons would be refused",
                    False,
                )
            ],
        ),
        ({"patient": ["P1"]}, []),
    ],
)
def test_part_that_nobody_fits_is_told(selected: dict[str, Any], told: list[tuple[str, bool]]) -> None:
    found = misfits(Selection.model_validate(selected), IMAGES)
    assert [(each.text, each.certain) for each in found] == told


def test_nothing_is_known_of_few_persons_and_of_ages_that_are_not_told() -> None:
    asked = Selection(modality=("US",), age_from=100)
    assert [*misfits(asked, ImagingSummary(floor=10))] == []
    old = ImagingSummary(floor=10, persons=50, age=ImagingCounts(persons={"90+": 50}))
    assert [*misfits(asked, old)] == []
