"""An experiment that is prepared ahead: what is laid out where, who may start it, and how it ends unless it is."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from tests.support.books import kinds
from tests.support.central_api import Federation, problem

from fedproc.central.db.engine import serialized_transaction
from fedproc.central.experiments.deadlines import pass_deadlines
from fedproc.contract.states import FOR_START
from fedproc.contract.wire.messages import JobOrder

pytestmark = pytest.mark.server


@pytest.fixture
def prepared(federation: Federation, rosa: httpx.Client) -> dict[str, Any]:
    """UB lays out ahead; BSC is of a release that does not."""
    federation.books.dispatch()
    federation.books.beat("UB", ahead=True)
    federation.books.beat("BSC")
    return federation.start(rosa, prepare=True, start_within=3600)


def lay_out(federation: Federation, experiment: str) -> None:
    job = federation.books.job_on(experiment, "UB").id
    federation.books.report(job, "materialising", waiting_for="materialising 1,200/5,000 files")
    federation.books.report(job, "materialising", ready=True, waiting_for=f"{FOR_START}; all is laid out")


def test_hosts_that_can_lay_it_out_and_the_others_wait_and_say_so(
    federation: Federation, rosa: httpx.Client, prepared: dict[str, Any]
) -> None:
    orders = federation.books.dispatch()
    assert kinds(orders) == [("JobOrder", "UB")]
    assert isinstance(orders[0][1], JobOrder) and orders[0][1].ahead
    view = rosa.get(f"/experiments/{prepared['id']}").json()
    assert (view["held"], view["prepared"]) == (True, False)
    _ub, bsc, total = view["jobs"]
    assert "nothing is laid out ahead" in bsc["waiting_for"] and "nothing is laid out ahead" in total["waiting_for"]
    assert rosa.get(f"/tasks/{bsc['id']}").json()["waiting_for"] == bsc["waiting_for"]
    lay_out(federation, prepared["id"])
    view = rosa.get(f"/experiments/{prepared['id']}").json()
    assert (view["held"], view["prepared"], view["jobs"][0]["laid_out"]) == (True, True, True)
    assert federation.books.dispatch() == [], "nothing begins by itself"


def test_start_sends_the_word_and_what_could_not_be_laid_out(
    federation: Federation, rosa: httpx.Client, prepared: dict[str, Any]
) -> None:
    federation.books.dispatch()
    lay_out(federation, prepared["id"])
    started = rosa.post(f"/experiments/{prepared['id']}/start")
    assert (started.status_code, started.json()["held"]) == (202, False)
    sent = federation.books.dispatch()
    assert sorted(kinds(sent)) == [("JobOrder", "BSC"), ("Proceed", "UB")]
    assert not any(isinstance(message, JobOrder) and message.ahead for _, message in sent)
    assert rosa.post(f"/experiments/{prepared['id']}/start").status_code == 202, "once more changes nothing"
    assert federation.books.dispatch() == []
    books = federation.books
    books.bring(prepared["id"], "prepared", "running", "collecting", "succeeded", task="local")
    assert kinds(books.dispatch()) == [("JobOrder", "EUCAIM")]


def test_start_before_all_is_laid_out_counts_as_soon_as_it_is(
    federation: Federation, rosa: httpx.Client, prepared: dict[str, Any]
) -> None:
    federation.books.dispatch()
    assert rosa.post(f"/experiments/{prepared['id']}/start").status_code == 202
    assert kinds(federation.books.dispatch()) == [("JobOrder", "BSC")]
    lay_out(federation, prepared["id"])
    assert kinds(federation.books.dispatch()) == [("Proceed", "UB")]


def test_start_before_anything_was_sent_sends_usual_orders(federation: Federation, rosa: httpx.Client) -> None:
    federation.books.beat("UB", ahead=True)
    view = federation.start(rosa, prepare=True, datasets=["UB:cohort"])
    orders = federation.books.dispatch()
    assert kinds(orders) == [("JobOrder", "UB")]
    rosa.post(f"/experiments/{view['id']}/cancel")
    federation.books.dispatch()


def test_nobody_else_starts_it(federation: Federation, prepared: dict[str, Any]) -> None:
    with federation.user("bob") as bob, federation.operator() as olga:
        problem(bob.post(f"/experiments/{prepared['id']}/start"), 404)
        problem(olga.post(f"/experiments/{prepared['id']}/start"), 404)


def test_one_that_began_when_it_was_sent_cannot_be_started(federation: Federation, rosa: httpx.Client) -> None:
    view = federation.start(rosa)
    assert view["held"] is False
    problem(rosa.post(f"/experiments/{view['id']}/start"), 409, "conflict.not_prepared")


def test_cancelled_it_ends_and_cannot_be_started(
    federation: Federation, rosa: httpx.Client, prepared: dict[str, Any]
) -> None:
    federation.books.dispatch()
    lay_out(federation, prepared["id"])
    rosa.post(f"/experiments/{prepared['id']}/cancel")
    assert kinds(federation.books.dispatch()) == [("Cancel", "UB")]
    problem(rosa.post(f"/experiments/{prepared['id']}/start"), 409, "conflict.ended")
    federation.books.bring(prepared["id"], "cancelled")
    assert rosa.get(f"/experiments/{prepared['id']}").json()["state"] == "cancelled"


def test_not_started_in_time_it_expires(federation: Federation, rosa: httpx.Client, prepared: dict[str, Any]) -> None:
    """Each host ends what it holds by itself; the centre what was never sent."""
    federation.books.dispatch()
    with serialized_transaction(federation.engine) as connection:
        pass_deadlines(connection, time.time() + 3700)
    assert federation.books.states(prepared["id"])["local@BSC"] == "expired"
    assert ("Cancel", "UB") in kinds(federation.books.dispatch())
    federation.books.report(federation.books.job_on(prepared["id"], "UB").id, "expired", code="expired")
    assert rosa.get(f"/experiments/{prepared['id']}").json()["state"] == "expired"


def test_same_request_of_a_release_before_has_the_same_fingerprint(federation: Federation, rosa: httpx.Client) -> None:
    from fedproc.central.experiments.submission import fingerprint
    from fedproc.contract.api.experiments import ExperimentRequest

    plain, held = (ExperimentRequest(tool="count", prepare=prepare) for prepare in (False, True))
    assert fingerprint(plain) == fingerprint(ExperimentRequest(tool="count")) != fingerprint(held)
