"""What a user may write with an order, where the provider tells project, permit and purpose; and what is filled in."""

from __future__ import annotations

import pytest

from fedproc.central.grants.answers import Finding, Terms
from fedproc.central.grants.conditions import as_ordered
from fedproc.central.grants.projects import chosen
from fedproc.central.grants.views import grant_view, obstacles, terms_told
from fedproc.common.errors import InvalidInputError

A = Terms("A", "N-1", "research", binds=True)
B = Terms("B", "N-2", "research", binds=True)
A_FOR_CARE = Terms("A", "N-3", "care", binds=True)
SILENT = Terms(permit="N-9", binds=True)
UNTOLD = Terms(permit="N-8")
"""of a provider that tells no projects"""


def granted(*grants: Terms) -> Finding:
    return Finding("eucaim", "granted", "", grants[0], grants)


def permits(found: dict[str, Finding]) -> list[str | None]:
    return [finding.terms.permit for finding in found.values()]


def test_what_is_granted_once_is_filled_in() -> None:
    found = chosen({"UB:a": granted(A), "BSC:a": granted(B, A)}, {})
    assert [finding.terms for finding in found.values()] == [A, A]


@pytest.mark.parametrize(
    ("stated", "permit"),
    [({"project": "B"}, "N-2"), ({"project": "A", "purpose": "care"}, "N-3"), ({"permit": "N-3", "project": "A",
      "purpose": "care"}, "N-3"), ({"project": "A", "purpose": "research"}, "N-1")],
)  # fmt: skip
def test_what_the_user_writes_says_which_of_several_grants_it_is(stated: dict[str, str], permit: str) -> None:
    assert permits(chosen({"UB:a": granted(A, B, A_FOR_CARE)}, stated)) == [permit]


@pytest.mark.parametrize(
    ("stated", "code", "where", "text"),
    [
        ({"project": "C"}, "grant.project", "project", "UB:a was granted to you for the project 'A', not for 'C'"),
        ({"purpose": "fun"}, "grant.purpose", "purpose", "for the purpose 'research', not for 'fun'"),
        ({"permit": "N-7"}, "grant.permit", "permit", "none of your grants of UB:a is of permit 'N-7'.*'N-1'"),
    ],
)
def test_what_was_not_granted_cannot_be_written(stated: dict[str, str], code: str, where: str, text: str) -> None:
    with pytest.raises(InvalidInputError, match=text) as refused:
        chosen({"UB:a": granted(A)}, stated)
    assert refused.value.code == code
    assert [error["where"] for error in refused.value.detail["errors"]] == [where]


def test_which_of_several_projects_is_meant_must_be_said() -> None:
    with pytest.raises(InvalidInputError, match=r"for the projects 'A' or 'B' \(say for which of them \(--project\)"):
        chosen({"UB:a": granted(A, B)}, {})


@pytest.mark.parametrize("term", ["project", "purpose"])
def test_datasets_of_different_projects_or_purposes_are_refused(term: str) -> None:
    other = B if term == "project" else A_FOR_CARE
    with pytest.raises(InvalidInputError, match=f"for different {term}s: UB:a for '.*'; BSC:a for '") as refused:
        chosen({"UB:a": granted(A), "BSC:a": granted(other)}, {})
    assert refused.value.code == f"grant.{term}"


def test_each_dataset_may_have_a_permit_of_its_own() -> None:
    again = Terms("A", "N-4", "research", binds=True)
    assert permits(chosen({"UB:a": granted(A), "UB:b": granted(again)}, {"permit": "N-4"})) == ["N-1", "N-4"]


def test_where_nothing_is_told_all_is_the_users_word() -> None:
    asked = {"UB:a": granted(UNTOLD), "UB:b": Finding("eucaim", "not_granted", "none")}
    assert chosen(asked, {"project": "mine", "permit": "mine", "purpose": "mine"}) == asked
    assert permits(chosen({"UB:a": granted(SILENT), "BSC:a": granted(A)}, {"project": "A"})) == ["N-9", "N-1"]
    assert permits(chosen({"UB:a": granted(SILENT)}, {"project": "mine"})) == ["N-9"]


# -- while a job runs

ORDERED = [{"dataset": "a", "provider": "eucaim", "project": "A", "permit": "N-1", "purpose": "research"}]


@pytest.mark.parametrize(
    ("now", "answer"),
    [
        ((A,), "granted"),
        ((B, A), "granted"),
        ((Terms("A", "N-5", "research", binds=True),), "granted"),
        ((SILENT,), "granted"),
        ((B,), "not_granted"),
        ((A_FOR_CARE,), "not_granted"),
    ],
)
def test_grant_that_moved_to_another_project_or_purpose_is_gone(now: tuple[Terms, ...], answer: str) -> None:
    found = as_ordered({"UB:a": granted(*now)}, "UB", ORDERED)["UB:a"]
    assert found.answer == answer
    assert (answer == "granted") == (found.reason == "")


def test_grant_that_moved_is_told_with_both_projects() -> None:
    found = as_ordered({"UB:a": granted(B)}, "UB", ORDERED)["UB:a"]
    assert "was for the project 'A', the purpose 'research', and is now for the project 'B'" in found.reason


def test_order_whose_grant_told_nothing_goes_on_whatever_is_told_now() -> None:
    asked = {"UB:a": granted(A), "UB:b": Finding("eucaim", "not_asked", "away")}
    assert as_ordered(asked, "UB", [{"dataset": "a", "provider": "eucaim", "permit": "N-1"}]) == asked


# -- what is shown of them


def test_all_grants_of_a_dataset_are_shown_with_their_terms() -> None:
    view = grant_view("UB:a", granted(Terms("A", "N-1", "research", 0.0), B), "https://ask.test")
    assert (view.answer, view.provider, [grant.project for grant in view.grants]) == ("granted", "eucaim", ["A", "B"])
    assert view.grants[0].until is not None
    assert grant_view("UB:a", None, "").answer == "open"


def test_form_offers_what_grants_tell_and_nothing_of_a_provider_that_does_not() -> None:
    told = terms_told([granted(A, B), granted(UNTOLD)])
    assert told == {"project": ["A", "B"], "permit": ["N-1", "N-2"], "purpose": ["research"]}
    findings = {"a": granted(A), "b": Finding("", "not_asked", "slow"), "c": Finding("p", "not_granted", "none")}
    assert obstacles(findings) == {"b": "", "c": "none"}
