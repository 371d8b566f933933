"""The pages in a real browser: accessible, readable on paper, in grey and to every colour vision, harmless."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import STANDARDS

from fedproc.onboarding.model.facts import Facts
from fedproc.onboarding.model.report import Line, ProfileStamp, Report, Verdict, to_json
from fedproc.onboarding.profile import profile
from fedproc.onboarding.report import page, survey

pytestmark = pytest.mark.needs_browser

LONG = "a-name-without-any-place-to-break-it-" * 6


def example() -> Report:
    """One line of every verdict, texts that are long, and a name that would be a script."""
    lines = [
        Line(
            f"{topic}.{verdict}",
            topic,
            f"requirement {LONG}",
            "D6.1, 1",
            "<script>document.title='x'</script>",
            verdict,
            "do it",
        )
        for topic in ("gpu", "memory", "network", "disk", "os")
        for verdict in Verdict
    ]
    stamp = ProfileStamp("d6.1", profile.load("d6.1").title, "0" * 64)
    return Report(
        "fedproc-check 0.1.0", "ub-gpu-01", "2025-01-31T12:00:00+00:00", 1.2, stamp, (), tuple(lines), Facts()
    )


@pytest.fixture(params=["report", "survey"])
def opened(request: pytest.FixtureRequest, browser: Any, tmp_path: Path) -> Iterator[Any]:
    """The page in a tab as wide as a laptop; its content security policy is set aside for axe alone."""
    made = example()
    entries = [("UB", to_json(made)), ("BSC", None), ("FORTH", {"format": 0})]
    text = page.render(made) if request.param == "report" else survey.render_html(entries)
    (tmp_path / "page.html").write_text(text)
    context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
    tab = context.new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    yield tab
    context.close()


def violations(tab: Any) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    found = axe.Axe().run(tab, options={"runOnly": {"type": "tag", "values": STANDARDS}})
    assert found.response["passes"], "axe looked at nothing"
    return [f"{v['id']}: {node['html'][:80]}" for v in found.response["violations"] for node in v["nodes"]]


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_passes_an_accessibility_check(opened: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 900})
    assert violations(opened) == []


def test_the_accessibility_check_can_fail(opened: Any) -> None:
    opened.evaluate("document.querySelector('h1').style.color = '#ccc'; document.documentElement.lang = ''")
    assert {found.split(":")[0] for found in violations(opened)} >= {"color-contrast", "html-has-lang"}


@pytest.mark.parametrize("width", [1280, 400])
def test_only_the_table_scrolls_sideways(opened: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 900})
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_on_paper_nothing_is_cut_off(opened: Any) -> None:
    """A4 landscape less its margins is 273 mm wide: 1032 CSS pixels."""
    opened.emulate_media(media="print")
    opened.set_viewport_size({"width": 1032, "height": 700})
    cut = """[...document.querySelectorAll('th, td, h1, p')]
        .filter(e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.outerHTML.slice(0, 80))"""
    assert opened.evaluate(cut) == []
    paper = opened.pdf(prefer_css_page_size=True, print_background=False)
    assert re.search(rb"/MediaBox \[0 0 84[12][.\d]* 59[45][.\d]*\]", paper)


def test_a_verdict_is_told_by_a_word_and_by_no_colour_alone(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page.render(example()))
    tab = browser.new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    labels = {cell.inner_text() for cell in tab.query_selector_all("td .verdict")}
    assert labels == {"✓ meets recommended", "≈ meets minimum", "✗ fails", "? could not tell"}
    style = "[...document.querySelectorAll('td .verdict')].map(e => getComputedStyle(e).borderLeftStyle)"
    assert len(set(tab.evaluate(style))) == 4, "each verdict has a border of its own, for grey print"
    tab.close()


def test_what_was_measured_is_text_and_never_runs(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page.render(example()))
    tab = browser.new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto((tmp_path / "page.html").as_uri())
    assert tab.title() == "Host check of ub-gpu-01"
    assert tab.get_by_text("<script>document.title='x'</script>").count() == 20
    assert asked == [(tmp_path / "page.html").as_uri()], "the page needs nothing from elsewhere"
    tab.close()
