"""An experiment that its hosts prepare has a button that starts it, for whoever sent it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from tests.support.books import kinds
from tests.support.central_api import Federation
from tests.support.issuer import TestIssuer

pytestmark = pytest.mark.server


@pytest.fixture
def browsing(dashboard: Federation, issuer: TestIssuer) -> Iterator[httpx.Client]:
    issuer.signs_in = ("rosa", "researcher")
    with httpx.Client(base_url=dashboard.url, follow_redirects=True, timeout=30, trust_env=False) as client:
        client.get("/dashboard/sign-in")
        yield client


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
    token = re.findall(r'name="form_token" value="([0-9a-f]{64})"', page)[0]
    started = browsing.post(f"{path}/start", data={"form_token": token})
    assert (started.status_code, "/start" in started.text) == (200, False)
    assert kinds(dashboard.books.dispatch()) == [("Proceed", "UB")]
