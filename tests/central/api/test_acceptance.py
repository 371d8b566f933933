"""A new host's acceptance: what it is given before, while and after."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.support.central_api import COUNT, Federation, problem

pytestmark = pytest.mark.server

ACCEPTANCE = Path(__file__).parents[3] / "tool_catalog/host_acceptance"


def enrol_again(federation: Federation, host: str, **more: Any) -> dict[str, Any]:
    values = {**federation.books.hosts.enrolment(host).model_dump(mode="json", exclude_none=True), **more}
    with federation.operator() as operator:
        answer = operator.put(f"/hosts/{host}", json=values)
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


def jobs_of(acceptance: httpx.Response) -> list[dict[str, Any]]:
    assert acceptance.status_code == 201, acceptance.text
    jobs: list[dict[str, Any]] = acceptance.json()["experiment"]["jobs"]
    return jobs


def accepting(lone: Federation) -> None:
    """The real acceptance tool is offered, and UB is not accepted yet."""
    with lone.operator() as operator:
        assert lone.add_tool(ACCEPTANCE, operator).status_code == 201
    assert enrol_again(lone, "UB", accepted=False)["accepted"] is False


def test_a_host_is_given_nothing_else_before_its_acceptance_succeeded(lone: Federation) -> None:
    accepting(lone)
    with lone.user() as rosa, lone.host("UB") as ub:
        refused = problem(rosa.post("/experiments", json=COUNT), 422)
        assert "UB has not passed its acceptance yet" in refused["detail"]
        job = jobs_of(ub.post("/hosts/UB/acceptance"))[0]
        assert (job["host"], job["state"]) == ("UB", "queued")
        assert jobs_of(ub.post("/hosts/UB/acceptance"))[0]["id"] == job["id"]
        lone.books.report(job["id"], "failed", code="exit_code", reason="3")
        assert ub.get("/hosts/UB/acceptance").json()["accepted"] is False
        problem(rosa.post("/experiments", json=COUNT), 422)

        again = jobs_of(ub.post("/hosts/UB/acceptance"))[0]
        assert again["id"] != job["id"]
        lone.books.report(again["id"], "succeeded")
        assert ub.get("/hosts/UB/acceptance").json()["accepted"] is True
        assert rosa.get("/hosts/UB").json()["accepted"] is True
        assert rosa.post("/experiments", json=COUNT).status_code == 201


def test_a_later_acceptance_that_fails_takes_nothing_away(lone: Federation) -> None:
    accepting(lone)
    with lone.operator() as operator, lone.user() as rosa:
        for state in ("succeeded", "failed"):
            job = jobs_of(operator.post("/hosts/UB/acceptance"))[0]
            lone.books.report(job["id"], state)
            assert operator.get("/hosts/UB/acceptance").json()["accepted"] is True
        assert rosa.post("/experiments", json=COUNT).status_code == 201


def test_a_host_that_comes_in_again_passes_it_again(lone: Federation) -> None:
    accepting(lone)
    with lone.operator() as operator, lone.user() as rosa:
        lone.books.report(jobs_of(operator.post("/hosts/UB/acceptance"))[0]["id"], "succeeded")
        assert operator.get("/hosts/UB/acceptance").json()["accepted"] is True
        assert operator.post("/hosts/UB/revocation", json={"reason": "a test"}).status_code == 200
        assert enrol_again(lone, "UB", accepted=False)["accepted"] is False
        problem(rosa.post("/experiments", json=COUNT), 422)
        lone.books.report(jobs_of(operator.post("/hosts/UB/acceptance"))[0]["id"], "succeeded")
        assert rosa.post("/experiments", json=COUNT).status_code == 201


def test_who_may_ask_for_it(federation: Federation, rosa: httpx.Client) -> None:
    problem(rosa.post("/hosts/UB/acceptance"), 403)
    problem(rosa.get("/hosts/UB/acceptance"), 403)
    with federation.host("BSC") as bsc:
        problem(bsc.post("/hosts/UB/acceptance"), 403)
    with federation.operator() as operator:
        problem(operator.post("/hosts/MARS/acceptance"), 404)


def test_a_host_that_is_silent_is_told_to_start(lone: Federation) -> None:
    accepting(lone)
    lone.books.beat("UB", at=time.time() - 3600)
    with lone.host("UB") as ub:
        assert "start its orchestrator" in problem(ub.post("/hosts/UB/acceptance"), 409)["detail"]


def test_changing_a_host_does_not_change_whether_it_is_accepted(lone: Federation) -> None:
    accepting(lone)
    assert enrol_again(lone, "UB", location="elsewhere")["accepted"] is False
    assert enrol_again(lone, "UB", accepted=True)["accepted"] is True
    assert enrol_again(lone, "UB", location="here")["accepted"] is True


@pytest.mark.parametrize("content", [
    b"no json", b"[1]", b"[" * 100_000, b'{"a":' * 400 + b"1" + b"}" * 400, b'{"a": "\\ud800"}', b"\xff{}",
])  # fmt: skip
def test_a_report_that_cannot_be_shown_is_none(lone: Federation, content: bytes) -> None:
    accepting(lone)
    with lone.operator() as operator:
        for written, seen in ((content, None), (b'{"findings": []}', {"findings": []})):
            job = jobs_of(operator.post("/hosts/UB/acceptance"))[0]
            lone.books.report(job["id"], "running")
            lone.upload_output(SimpleNamespace(id=job["id"], host="UB"), "report", "report.json", written)
            lone.books.report(job["id"], "succeeded")
            answer = operator.get("/hosts/UB/acceptance")
            assert answer.status_code == 200, answer.text
            assert answer.json().get("report") == seen
