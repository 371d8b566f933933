"""A citation names tool, data with title and who made them, and experiment; what is not known is said."""

from __future__ import annotations

import pytest

from fedproc.contract.api.citing import CitedDataset, citation, not_known, title_of

TOOL = ("count", "1.2.0", "sha256:0")
WHOLE = CitedDataset("UB:cohort", "3", "Breast cohort", ("A. Roe", "B. Poe"), "Universitat de Barcelona")
BARE = CitedDataset("BSC:cohort", None)


def test_data_are_cited_with_title_makers_and_publisher() -> None:
    text = citation(TOOL, [WHOLE, BARE], "e-1", "https://api", "succeeded 2026")
    assert text == (
        "count 1.2.0 (sha256:0) on BSC:cohort version unknown; A. Roe, B. Poe: “Breast cohort”, Universitat de "
        "Barcelona, UB:cohort version 3; federated experiment e-1 at https://api, succeeded 2026"
    )
    assert citation(TOOL, [BARE, WHOLE], "e-1", "https://api", "succeeded 2026") == text


def test_what_is_not_known_is_said_with_who_can_say_it() -> None:
    assert not_known([WHOLE]) == ""
    said = not_known([WHOLE, BARE])
    assert said == (
        "the title of BSC:cohort; the creators of BSC:cohort; the publisher of BSC:cohort: the hosts do not say; ask "
        "their sites, or leave it out"
    )


@pytest.mark.parametrize(
    ("title", "description", "found"),
    [
        ("Own", "Other. More.", "Own"),
        ("", "Breast cancer patients, 2015 to 2022. As exported.", "Breast cancer patients, 2015 to 2022"),
        ("", "a\nb", "a b"),
        ("", "", ""),
        ("", "w" * 200, "w" * 119 + "…"),
    ],
)
def test_title_is_the_own_one_or_what_the_description_says_first(title: str, description: str, found: str) -> None:
    assert title_of(title, description) == found
