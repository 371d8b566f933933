"""Errors as answers: problem details to programs, the sign-in to who opens an address of the API in a browser."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from fedproc.central.api import problems
from fedproc.common.errors import NotAuthenticatedError, NotFoundError

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def answered(path: str, method: str = "GET", **headers: str) -> httpx.Response:
    app = FastAPI()
    problems.install(app)

    @app.api_route("/{rest:path}", methods=["GET", "POST"])
    def refuse(rest: str) -> None:
        raise NotFoundError("none") if rest == "gone" else NotAuthenticatedError("this needs a token")

    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/experiments", "%2Fdashboard%2Fexperiments"),
        ("/hosts/", "%2Fdashboard%2Fhosts"),
        ("/experiments/e-1", "%2Fdashboard%2Fexperiments%2Fe-1"),
        ("/experiments/e-1/report", "%2Fdashboard"),
        ("/data/file", "%2Fdashboard"),
    ],
)
def test_browser_that_is_not_signed_in_is_led_to_sign_in(path: str, page: str) -> None:
    answer = answered(path, **BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/dashboard/sign-in?next={page}")
    assert answer.headers["vary"] == "Accept"


def test_programs_and_pages_own_requests_get_a_problem() -> None:
    for answer in (
        answered("/experiments"),
        answered("/experiments", Accept="application/json"),
        answered("/experiments", "POST", **BROWSER),
        answered("/experiments", **BROWSER, **{"Sec-Fetch-Dest": "empty"}),
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answered("/gone", **BROWSER).status_code == 404
