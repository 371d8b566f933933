"""Every page in a real browser: accessible by axe, in light and dark, on a telephone, at 400 %, by keyboard, and light.

What the browser itself complains of, the content security policy included, fails the test (``tab``).
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from tests.central.api.pages.conftest import Tab, dispatch
from tests.central.api.test_submissions import new_version, send
from tests.support.browser import STANDARDS
from tests.support.central_api import Federation

pytestmark = pytest.mark.needs_browser

MOST = 120_000
"""bytes of a page with all that it loads, compressed"""


@pytest.fixture(scope="module")
def pages(dashboard: Federation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every page with something in it, by name."""
    with dashboard.user("pia") as pia:
        sent_in = send(pia, new_version(tmp_path_factory.mktemp("sent"), "8.1.0")).json()["id"]
    with dashboard.user() as rosa:
        ended = dashboard.start(rosa, tool="learn", parameters={"target": "malignant"}, label="with warnings")["id"]
        waiting = dashboard.start(rosa, label="waiting")["id"]
    dispatch(dashboard)
    books = dashboard.books
    job, other = books.job_on(ended, "UB"), books.job_on(ended, "BSC")
    books.report(job.id, "running")
    for number in range(1, 6):
        books.say(job.id, "metrics", number, metrics={"round": number, "loss": 1 / number, "seconds": 0.2})
    books.say(job.id, "stdout", 1, lines=("read 120 rows", "trained"))
    dashboard.upload_output(job, "picture", "loss.svg", PICTURE, media_type="image/svg+xml")
    partly = {"stage": "partly_released", "decided": "2026-11-03T09:00:00Z"}
    text = "the site released a part of these outputs and keeps the rest; ask there why"
    books.report(job.id, "succeeded", code="release.partly", reason=text, release=partly)
    books.report(other.id, "refused", code="policy.tool_unknown", reason="the site admits no version of learn")
    books.report(books.job_on(waiting, "UB").id, "accepted", waiting_for="2 free CPUs: 4 of 4 are taken")
    books.beat("FORTH", condition="holding", condition_text="the disk of its jobs is full")
    return {
        "start": "/dashboard", "hosts": "/dashboard/hosts", "host": "/dashboard/hosts/FORTH",
        "datasets": "/dashboard/datasets", "dataset": "/dashboard/datasets/UB:cohort", "tools": "/dashboard/tools",
        "tool": "/dashboard/tools/learn", "experiments": "/dashboard/experiments",
        "warnings": f"/dashboard/experiments/{ended}", "waiting": f"/dashboard/experiments/{waiting}",
        "log": f"/dashboard/experiments/{ended}/log", "delete": f"/dashboard/experiments/{ended}/delete",
        "cancel": f"/dashboard/experiments/{waiting}/cancel",
        "new": "/dashboard/new", "form": "/dashboard/new?tool=learn&dataset=UB:cohort", "files": "/dashboard/files",
        "operate": "/dashboard/operate", "audit": "/dashboard/operate/audit", "nowhere": "/dashboard/nowhere",
        "submissions": "/dashboard/submissions", "submission": f"/dashboard/submissions/{sent_in}",
    }  # fmt: skip


PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20"><path d="M0 18L40 2" stroke="teal"/></svg>'


@pytest.fixture(params=["light", "dark"])
def look(request: pytest.FixtureRequest, browser: Any, dashboard: Federation) -> Iterator[Tab]:
    """A wide window in light; in dark a telephone, as wide as that window at 400 %. An operator sees every page."""
    dashboard.issuer.signs_in = ("rosa", "operator")
    size = {"width": 1280, "height": 900} if request.param == "light" else {"width": 320, "height": 740}
    context = browser.new_context(viewport=size, color_scheme=request.param)
    context.set_default_timeout(10_000)
    tab = Tab(context.new_page(), dashboard.url)
    tab.name = request.param
    tab.sign_in()
    yield tab
    context.close()
    assert [text for text in tab.complaints if "status of 404" not in text] == []


def test_pages_are_accessible_and_fit(look: Tab, pages: dict[str, str]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    options = {"runOnly": {"type": "tag", "values": STANDARDS}, "resultTypes": ["violations"]}
    found = {}
    for name, path in pages.items():
        page = look.open(path)
        if name == "warnings":
            page.locator("#curves canvas").first.wait_for()
        look.shot(f"{look.name}-{name}")
        violations = axe.run(page, options=options).response["violations"]
        problems = [f"{v['id']}: {node['html'][:150]}" for v in violations for node in v["nodes"]]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append("the page is wider than its window")
        if problems:
            found[name] = problems
    assert found == {}


def test_an_experiment_without_a_host_is_finished_with_warnings(tab: Tab, pages: dict[str, str]) -> None:
    tab.sign_in()
    page = tab.open(pages["warnings"])
    assert page.locator("#summary .badge").inner_text().endswith("finished with warnings")
    page.get_by_text("it succeeded without BSC").wait_for()
    page.get_by_role("img", name="loss.svg of UB").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.pictures img').naturalWidth > 0")
    assert page.locator("#news").inner_text() == ""  # nothing is announced that was there already


def test_a_job_of_which_a_part_was_released_says_so(tab: Tab, pages: dict[str, str]) -> None:
    tab.sign_in()
    page = tab.open(pages["warnings"])
    assert page.locator("#jobs .badge", has_text="partly released").count() == 1
    page.get_by_text("UB released a part of the outputs and keeps the rest").wait_for()


def test_pages_are_light(tab: Tab, pages: dict[str, str]) -> None:
    tab.sign_in()
    loaded: list[str] = []
    tab.page.on("response", lambda answer: loaded.append(answer.url))
    for name in ("start", "hosts", "warnings", "form"):
        loaded.clear()
        tab.open(pages[name]).wait_for_load_state("load")
        urls = {url for url in loaded if not url.endswith(("/live", "/content"))}
        sizes = {url: len(gzip.compress(tab.page.request.get(url).body(), 9)) for url in urls}
        assert sum(sizes.values()) < MOST, f"{name}: {sizes}"


def test_whole_pages_are_reached_by_keyboard(tab: Tab, pages: dict[str, str], dashboard: Federation) -> None:
    dashboard.issuer.signs_in = ("rosa", "operator")
    tab.sign_in()
    page = tab.open(pages["start"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for name, path in pages.items():
        page = tab.open(path)
        wanted = page.locator(STOPS).count()
        reached = set()
        for _ in range(200):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(PLACE))
            if len(reached) > 3 and page.evaluate("document.activeElement === document.body"):
                break
        inside = [place for place in reached if place.startswith("main")]
        assert len(inside) >= wanted, f"{name}: {len(inside)} of {wanted} are reached"
    tab.complaints[:] = [text for text in tab.complaints if "status of 404" not in text]


STOPS = "main :is(a[href], button:enabled, input:enabled:not([type=hidden]), select):visible"
PLACE = """() => {
  const at = document.activeElement;
  const inside = at.closest('main') ? 'main' : 'other';
  return inside + [...document.querySelectorAll('*')].indexOf(at);
}"""


def test_forms_have_no_inline_script_or_style(tab: Tab, pages: dict[str, str]) -> None:
    tab.sign_in()
    for path in pages.values():
        text = tab.page.request.get(tab.url + path).text()
        assert not re.search(r"<style|<script(?![^>]+src=)| style=| on\w+=", text), path


def test_help_takes_the_facts_of_an_experiment_along_and_nothing_confidential(tab: Tab, pages: dict[str, str]) -> None:
    tab.sign_in()
    page = tab.open(pages["warnings"])
    page.get_by_text("Ask for help with this experiment").click()
    link = page.get_by_role("link", name="help@eucaim.test").get_attribute("href") or ""
    assert link.startswith("mailto:help@eucaim.test?subject=fedproc%20experiment%20")
    told = unquote(link)
    assert "BSC, learn: refused (policy.tool_unknown)" in told
    assert [each for each in ("with warnings", "malignant", "rosa") if each in told] == []
