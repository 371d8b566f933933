"""The documentation in a real browser: under its own policy a researcher signs in and tries a request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.central_api import Federation

import fedproc

ASSETS = Path(fedproc.__file__).parent / "central/api/documentation/assets"


@pytest.mark.parametrize("package", json.loads((ASSETS / "vendored.json").read_text()), ids=lambda p: p["package"])
def test_what_is_vendored_is_what_its_list_says(package: dict[str, dict[str, str]]) -> None:
    found = {name: hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() for name in package["files"]}
    assert found == package["files"]


@pytest.fixture
def tab(browser: Any, federation: Federation) -> Iterator[Any]:
    """The page as a browser opens it, under its own policy; what the browser complains of fails the test."""
    found: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: found.append(str(error)))
    opened.goto(f"{federation.url}/docs")
    opened.locator(".opblock").first.wait_for()
    yield opened
    context.close()
    assert found == []


@pytest.mark.needs_browser
def test_a_researcher_signs_in_and_tries_a_request(tab: Any) -> None:
    groups = tab.locator(".opblock-tag").evaluate_all("tags => tags.map(tag => tag.dataset.tag)")
    assert groups[:2] == ["authentication", "tools and tasks"]
    tab.locator(".scheme-container button.authorize").click()
    tab.locator("#oauth_username, input[name=username]").first.fill("rosa")
    tab.locator("#oauth_password, input[name=password]").first.fill("correct horse")
    tab.locator(".modal-ux button.authorize").click()
    tab.locator(".modal-ux").get_by_text("Logout").wait_for()
    tab.locator(".modal-ux button.btn-done").click()
    hosts = tab.locator(".opblock", has=tab.locator("[data-path='/hosts/']")).first
    hosts.locator(".opblock-summary-control").click()
    hosts.get_by_role("button", name="Try it out").click()
    hosts.get_by_role("button", name="Execute").click()
    answer = hosts.locator(".live-responses-table .response .response-col_status")
    answer.wait_for()
    assert answer.inner_text().startswith("200")


@pytest.mark.needs_browser
def test_requests_show_their_example(tab: Any) -> None:
    making = tab.locator(".opblock-post", has=tab.locator("[data-path='/experiments']")).first
    making.locator(".opblock-summary-control").click()
    making.locator(".body-param__example, .highlight-code").first.wait_for()
    assert "UB:breast-cohort" in making.inner_text()
