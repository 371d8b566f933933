"""A dashboard that a real browser opens, with a researcher who signs in there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.central.conftest import new_database
from tests.support.needs import needs

from fedproc.demo.polling import free_ports

if TYPE_CHECKING:  # loading an API takes a second: only for those who start one
    from tests.support.central_api import Federation
    from tests.support.issuer import TestIssuer

SHOTS = Path(os.environ.get("FEDPROC_SCREENSHOTS") or "")
"""where screenshots go, if they are wanted"""


@pytest.fixture(scope="module")
@needs("server")
def dashboard(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, issuer: TestIssuer
) -> Iterator[Federation]:
    """A centre at an address that a browser reaches, with four hosts and three tools."""
    from tests.support.central_api import Federation

    folder, port = tmp_path_factory.mktemp("centre"), free_ports(1)[0]
    own = {"port": port, "public_url": f"http://127.0.0.1:{port}", "help": "help@eucaim.test"}
    with Federation(new_database(request, "sqlite", folder), folder, issuer, **own) as running:
        running.enrol_everyone()
        with running.operator() as operator:
            assert running.add_tool(Path(__file__).parent / "tools" / "learn", operator).status_code == 201
        yield running


@pytest.fixture(autouse=True)
def _rosa_signs_in(request: pytest.FixtureRequest) -> None:
    if "dashboard" in request.fixturenames:
        issuer: TestIssuer = request.getfixturevalue("issuer")
        issuer.signs_in, issuer.lives = ("rosa", "researcher"), 600
        issuer.refuses, issuer.rotates = None, False


class Tab:
    """One tab of a browser; ``complaints`` is what the browser finds wrong, the content security policy included."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: str) -> Any:
        self.page.goto(self.url + path)
        return self.page

    def sign_in(self) -> Any:
        return self.open("/dashboard/sign-in?next=/dashboard")

    def shot(self, name: str) -> None:
        """A screenshot of the whole page, if they are wanted."""
        if SHOTS.name:
            SHOTS.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=SHOTS / f"{re.sub(r'[^a-z0-9-]', '-', name)}.png", full_page=True)


@pytest.fixture
def tab(browser: Any, dashboard: Federation) -> Iterator[Tab]:
    """What the browser complains of fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    opened = Tab(context.new_page(), dashboard.url)
    yield opened
    context.close()
    assert opened.complaints == []


def dispatch(federation: Federation) -> None:
    """Publish what waits; in a thread of its own, since Playwright keeps an event loop in this one."""
    with ThreadPoolExecutor(1) as apart:
        apart.submit(federation.books.dispatch).result()
