"""A real browser for tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.needs import needs

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
STANDARDS = ["wcag2a", "wcag2aa", "wcag2aaa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
@needs("needs_browser")
def browser() -> Iterator[Any]:
    """Chromium, or a skip that says that there is none."""
    yield from launched()


def launched(*options: str) -> Iterator[Any]:
    """Chromium with further options of its command line; it ends afterwards."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed (one of {', '.join(BROWSERS)}): the pages were not looked at")
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync.sync_playwright() as playwright:
        of_root = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=found, args=[*of_root, *options])
        yield started
        started.close()
