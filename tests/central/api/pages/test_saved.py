"""An experiment as one file: it has what the page has, loads nothing, runs nothing, and is accessible."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.central.api.pages.conftest import dispatch
from tests.support.browser import STANDARDS
from tests.support.central_api import Federation

pytestmark = pytest.mark.server

PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20"><path d="M0 18L40 2" stroke="teal"/></svg>'
HOSTILE = "<script>alert(1)</script> ]]> </style>"


@pytest.fixture
def rosa(dashboard: Federation) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=dashboard.url, follow_redirects=True, timeout=30, trust_env=False) as client:
        client.get("/dashboard/sign-in")
        yield client


@pytest.fixture
def experiment(dashboard: Federation) -> str:
    with dashboard.user() as user:
        found: str = dashboard.start(user, tool="learn", parameters={"target": "malignant"}, label=HOSTILE)["id"]
    dispatch(dashboard)
    books = dashboard.books
    job, other = books.job_on(found, "UB"), books.job_on(found, "BSC")
    books.report(job.id, "running")
    for number in range(1, 4):
        books.say(job.id, "metrics", number, metrics={"round": number, "loss": 1 / number})
    dashboard.upload_output(job, "picture", "loss.svg", PICTURE, media_type="image/svg+xml")
    books.report(job.id, "succeeded")
    books.report(other.id, "refused", code="policy.tool_unknown", reason="the site admits no version of learn")
    return found


def saved(client: httpx.Client, experiment: str) -> httpx.Response:
    answer = client.get(f"/dashboard/experiments/{experiment}/file")
    assert answer.status_code == 200, answer.text
    return answer


def test_file_has_all_that_a_publication_needs_and_no_address_to_load(rosa: httpx.Client, experiment: str) -> None:
    answer = saved(rosa, experiment)
    assert answer.headers["content-disposition"] == f"attachment; filename={experiment}.html"
    text = answer.text
    for wanted in (
        "To cite",
        experiment,
        "the site admits no version of learn",
        "loss by round",
        "data:image/svg+xml;base64,",
    ):
        assert wanted in text
    assert re.search(r"<code class=\"long\">[0-9a-f]{64}</code>", text)
    assert re.findall(r"(?:src|href|action)=\"(?!data:)", text) == []
    assert "<script" not in text
    assert "url(http" not in text


def test_bytes_of_pictures_are_the_owners(dashboard: Federation, experiment: str) -> None:
    dashboard.issuer.signs_in = ("olga", "operator")
    with httpx.Client(base_url=dashboard.url, follow_redirects=True, timeout=30, trust_env=False) as olga:
        olga.get("/dashboard/sign-in")
        text = saved(olga, experiment).text
    assert "loss.svg" in text
    assert "data:image/svg+xml;base64," not in text


def test_strangers_experiment_cannot_be_saved(dashboard: Federation, experiment: str) -> None:
    dashboard.issuer.signs_in = ("bruno", "researcher")
    with httpx.Client(base_url=dashboard.url, follow_redirects=True, timeout=30, trust_env=False) as bruno:
        bruno.get("/dashboard/sign-in")
        assert bruno.get(f"/dashboard/experiments/{experiment}/file").status_code == 404


@pytest.mark.needs_browser
def test_file_shows_its_pictures_and_curves_and_is_accessible(
    browser: Any, rosa: httpx.Client, experiment: str, tmp_path: Path
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    path = tmp_path / "experiment.html"
    path.write_bytes(saved(rosa, experiment).content)
    context = browser.new_context(offline=True, viewport={"width": 1000, "height": 900})
    page = context.new_page()
    page.goto(path.as_uri())
    page.get_by_role("img", name="loss by round").wait_for()
    page.wait_for_function("document.querySelector('.pictures img').naturalWidth > 0")
    options = {"runOnly": {"type": "tag", "values": STANDARDS}, "resultTypes": ["violations"]}
    violations = axe.run(page, options=options).response["violations"]
    context.close()
    assert [f"{v['id']}: {node['html'][:150]}" for v in violations for node in v["nodes"]] == []
