"""The page of an experiment: what waits for its turn, its start, its end, and what is asked before either is done."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from tests.support.books import kinds
from tests.support.central_api import Federation
from tests.support.issuer import TestIssuer

from fedproc.central.api.pages.experiments import earlier
from fedproc.contract.api.tools import TaskView


def test_a_task_comes_after_those_that_must_have_ended_and_beside_those_that_are_ready() -> None:
    needs = [{"task": "count", "condition": "exited"}, {"task": "server", "condition": "ready"}]
    task = TaskView.model_validate(
        {"tool": "learn", "version": "1.0.0", "name": "add", "kind": "batch", "command": ["x"], "runtime": {},
         "placement": "server", "resources": {}, "needs": needs}
    )  # fmt: skip
    assert earlier(task) == ["count"]


@pytest.fixture
def browsing(dashboard: Federation, issuer: TestIssuer) -> Iterator[httpx.Client]:
    issuer.signs_in = ("rosa", "researcher")
    with httpx.Client(base_url=dashboard.url, follow_redirects=True, timeout=30, trust_env=False) as client:
        client.get("/dashboard/sign-in")
        yield client


@pytest.mark.server
def test_held_experiment_is_started_in_its_page(dashboard: Federation, browsing: httpx.Client) -> None:
    dashboard.books.dispatch()
    dashboard.books.beat("UB", ahead=True)
    with dashboard.user() as rosa:
        experiment = dashboard.start(rosa, datasets=["UB:cohort"], prepare=True)["id"]
    dashboard.books.dispatch()
    path = f"/dashboard/experiments/{experiment}"
    assert "Start it as soon as it is prepared" in browsing.get(path).text
    job = dashboard.books.job_on(experiment, "UB").id
    dashboard.books.report(job, "materialising", waiting_for="materialising 1,200/5,000 files")
    assert "materialising 1,200/5,000 files" in browsing.get(path).text
    dashboard.books.report(job, "materialising", ready=True, waiting_for="the start; all is laid out")
    page = browsing.get(path).text
    assert ">Start it<" in page and "all is laid out for 1 of 2 jobs" in page
    started = browsing.post(f"{path}/start", data=token_in(page))
    assert (started.status_code, "/start" in started.text) == (200, False)
    assert kinds(dashboard.books.dispatch()) == [("Proceed", "UB")]


def token_in(page: str) -> dict[str, str]:
    return {"form_token": re.findall(r'name="form_token" value="([0-9a-f]{64})"', page)[0]}


@pytest.mark.server
def test_failed_experiment_shows_the_last_line_and_is_deleted_with_a_word(
    dashboard: Federation, browsing: httpx.Client
) -> None:
    with dashboard.user() as rosa:
        experiment = dashboard.start(rosa, datasets=["UB:cohort"])["id"]
    books = dashboard.books
    books.dispatch()
    job = books.job_on(experiment, "UB").id
    books.report(job, "running")
    books.say(job, "stdout", 1, lines=("read 120 rows", "bye"))
    books.say(job, "stderr", 1, lines=("Traceback", "KeyError: 'age'"))
    books.report(job, "failed", code="tool_fault.exit_code", reason="the command exited with 2, expected 0")
    path = f"/dashboard/experiments/{experiment}"
    page = browsing.get(path).text
    assert "It said last: <code>KeyError: &#39;age&#39;</code>" in page
    assert '<section id="cite" aria-labelledby="cite-title" hx-swap-oob="outerMorph" hidden>' in page
    (link,) = re.findall(rf'href="({path}/log[^"]+#last)"', page)
    lines = browsing.get(link.replace("&amp;", "&")).text.partition("<pre>")[2].partition("</pre>")[0]
    here = '<span id="last"></span>'
    assert lines.splitlines() == ["UB local stderr: Traceback", f"{here}UB local stderr: KeyError: &#39;age&#39;"]
    gone = browsing.post(f"{path}/delete", data=token_in(browsing.get(f"{path}/delete").text)).text
    assert f"Deleted: <code>{experiment}</code>" in gone


@pytest.mark.server
def test_cancelling_is_asked_about_before_it_is_done(dashboard: Federation, browsing: httpx.Client) -> None:
    with dashboard.user() as rosa:
        experiment = dashboard.start(rosa, datasets=["UB:cohort"])["id"]
    path = f"/dashboard/experiments/{experiment}"
    asked = browsing.get(f"{path}/cancel").text
    assert "Its 2 jobs that have not ended will be stopped" in asked
    assert not dashboard.books.experiment(experiment).cancel_requested
    assert "cancelled" in browsing.post(f"{path}/cancel", data=token_in(asked)).text
    assert dashboard.books.experiment(experiment).cancel_requested
