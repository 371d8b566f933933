"""How many persons decide, by when, and what is shown to them besides."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedproc.contract.tool.task import Disclosure
from fedproc.site.policy.review import ReviewRule, concluded, is_shown

FRIDAY = datetime(2026, 11, 27, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "days", "until"),
    [
        (FRIDAY, 1, datetime(2026, 11, 30, 15, 0, tzinfo=UTC)),
        (FRIDAY, 7, datetime(2026, 12, 8, 15, 0, tzinfo=UTC)),
        (FRIDAY + timedelta(days=1), 1, datetime(2026, 12, 1, tzinfo=UTC)),
        (FRIDAY, 0.25, datetime(2026, 11, 27, 21, 0, tzinfo=UTC)),
        (FRIDAY, 0.5, datetime(2026, 11, 30, 3, 0, tzinfo=UTC)),
    ],
)
def test_days_are_working_days(since: datetime, days: float, until: datetime) -> None:
    assert ReviewRule().after(since, days) == until


def test_holidays_are_no_working_days() -> None:
    rule = ReviewRule(holidays=(date(2026, 11, 30), date(2026, 12, 1)))
    assert rule.after(FRIDAY, 1) == datetime(2026, 12, 2, 15, 0, tzinfo=UTC)


@pytest.mark.slow
@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)), st.floats(0.001, 60))
def test_so_many_working_days_are_never_less_than_days(since: datetime, days: float) -> None:
    until = ReviewRule().after(since, days)
    assert timedelta(days=days) <= until - since + timedelta(milliseconds=1)
    assert until - since <= timedelta(days=days * 7 / 5 + 3)


@pytest.mark.parametrize(
    ("votes", "needed", "disagreement", "found"),
    [
        ([], 1, "refuse", None),
        ([True], 1, "refuse", True),
        ([True], 2, "refuse", None),
        ([True, True], 2, "refuse", True),
        ([False, False], 2, "third", False),
        ([True, False], 2, "refuse", False),
        ([True, False], 2, "third", None),
        ([True, False, True], 2, "third", True),
    ],
)
def test_what_persons_decided(votes: list[bool], needed: int, disagreement: str, found: bool | None) -> None:
    assert concluded(votes, needed, disagreement) is found


def test_a_person_is_known_by_each_of_his_names() -> None:
    rule = ReviewRule(persons={"anna": ("Anna  Puig", "0000-0002-1825-0097")})
    for name in ("ANNA", "anna puig", "https://orcid.org/0000-0002-1825-0097"):
        assert rule.is_one_of("anna", ["", name])
    assert not rule.is_one_of("anna", ["bert", ""])
    assert not rule.is_one_of("bert", ["anna puig"])


@pytest.mark.parametrize(
    "spelling",
    [
        "http://orcid.org/0000-0002-1825-009x",
        "https://www.orcid.org/0000-0002-1825-009X/",
        "orcid:0000-0002-1825-009X",
        "orcid.org/0000-0002-1825-009X?lang=ca",
        "Jose\u0301 Puig",
        "ＪＯＳÉ puig",
    ],
)
def test_a_name_is_one_however_it_is_spelled(spelling: str) -> None:
    rule = ReviewRule(persons={"jose": ("José Puig", "0000-0002-1825-009X")})
    assert rule.is_one_of("jose", [spelling])
    assert ReviewRule(persons={"jose": (spelling,)}).is_one_of("jose", ["José Puig", "0000-0002-1825-009X"])


def test_accounts_that_share_a_name_are_one_person_also_by_a_third() -> None:
    rule = ReviewRule(persons={"a": ("Anna",), "b": ("0000-0001",), "c": ("anna", "0000-0001"), "d": ("Dora",)})
    assert rule.is_same("a", "b")
    assert rule.is_same("x", "x")
    assert not rule.is_same("a", "d")
    assert not rule.is_same("x", "y")


def test_one_in_so_many_is_shown() -> None:
    numbers = [f"{number * 2654435761 % 2**32:08x}" for number in range(20_000)]
    assert 0.04 < sum(is_shown(number, 20) for number in numbers) / len(numbers) < 0.06
    assert not any(is_shown(number, 0) for number in numbers)
    assert all(is_shown(number, 1) for number in numbers)


def test_persons_by_class() -> None:
    rule = ReviewRule(reviewers={Disclosure.model: 2})
    assert [rule.persons_for(each) for each in (Disclosure.model, Disclosure.aggregate)] == [2, 1]
