"""What happens in an experiment appears in its page by itself, and what was missed is caught up."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, event, update
from tests.central.api.pages.conftest import Tab, dispatch
from tests.support.central_api import Federation

from fedproc.central.api import streams
from fedproc.central.api.pages import live
from fedproc.central.api.pages.backend import ApiError
from fedproc.central.db.engine import write_transaction
from fedproc.central.db.schema import hosts, sessions
from fedproc.common.errors import UnavailableError

pytestmark = pytest.mark.needs_browser


@pytest.fixture
def started(dashboard: Federation) -> str:
    """An experiment that its hosts have been sent."""
    with dashboard.user() as rosa:
        experiment: str = dashboard.start(rosa, label="first look")["id"]
    dispatch(dashboard)
    return experiment


def row(page: Any, host: str) -> Any:
    return page.locator("#jobs tbody tr", has=page.get_by_role("rowheader", name=host))


def test_states_reasons_and_the_end_appear(tab: Tab, dashboard: Federation, started: str) -> None:
    tab.sign_in()
    page = tab.open(f"/dashboard/experiments/{started}")
    page.get_by_text("Live: changes appear").wait_for()
    books = dashboard.books
    job, other = books.job_on(started, "UB"), books.job_on(started, "BSC")
    books.report(job.id, "accepted", waiting_for="2 free CPUs: 4 of 4 are taken")
    row(page, "UB").get_by_text("2 free CPUs").wait_for()
    books.report(job.id, "running")
    row(page, "UB").get_by_text("running").wait_for()
    page.locator("#news").get_by_text("UB local: running").wait_for(state="attached")
    books.report(other.id, "refused", code="policy.tool", reason="the site admits no version of count")
    row(page, "BSC").get_by_text("the site admits no version of count").wait_for()
    tab.shot("experiment-running")
    books.report(job.id, "failed", code="exit", reason="exit code 3")
    page.get_by_text("It has ended").wait_for()
    assert page.locator("#summary .badge").inner_text().endswith("failed")


def test_followers_share_what_is_read(dashboard: Federation, started: str) -> None:
    """Of forty pages that follow an experiment none asks while nothing happens; a change is read once for all."""
    asked: list[str] = []
    event.listen(dashboard.app.state.fedproc.engine, "before_cursor_execute", lambda *seen: asked.append(seen[2]))
    with httpx.Client(base_url=dashboard.url, follow_redirects=True, timeout=30, trust_env=False) as client:
        client.get("/dashboard/sign-in")
        with ExitStack() as stack:
            for _ in range(40):
                stack.enter_context(client.stream("GET", f"/dashboard/experiments/{started}/live"))
            _until_quiet(asked)
            for state in ("accepted", "running"):
                asked.clear()
                dashboard.books.report(dashboard.books.job_on(started, "UB").id, state)
                _until_quiet(asked, 1)
                assert len(reads(asked)) < 40, f"{len(asked)} queries of 40 followers: {asked[:20]}"


def reads(asked: list[str]) -> list[str]:
    return [one for one in asked if one.startswith("SELECT")]


def _until_quiet(asked: list[str], least: int = 0) -> None:
    """Until nothing was asked for a second, and at least so many queries were."""
    until, before = time.monotonic() + 60, -1
    while time.monotonic() < until:
        before = len(asked)
        time.sleep(1.5)  # what is claimed is that nothing is asked in a second
        if len(asked) == before >= least:
            return
    raise AssertionError(f"it does not become quiet: {asked[-3:]}")


def test_measures_become_curves_and_a_table(tab: Tab, dashboard: Federation) -> None:
    with dashboard.user() as rosa:
        learning = dashboard.start(rosa, tool="learn", parameters={"target": "malignant"}, label="learning")["id"]
    dispatch(dashboard)
    tab.sign_in()
    books = dashboard.books
    books.bring(learning, "running")
    jobs = [books.job_on(learning, host) for host in ("UB", "BSC")]
    for number in (1, 2, 3):
        for job in jobs:
            books.say(job.id, "metrics", number, metrics={"round": number, "loss": 1 / number, "seconds": 0.25})
    page = tab.open(f"/dashboard/experiments/{learning}")
    figure = page.locator("#curves figure", has_text="Numbers of loss")
    figure.locator("canvas").wait_for()
    assert page.locator("#curves figure").count() == 2  # rounds are what the others are drawn over
    books.say(jobs[0].id, "metrics", 4, metrics={"round": 4, "loss": 0.1875, "other": 9})
    figure.locator("summary").click()
    figure.get_by_role("cell", name="0.1875").wait_for()
    tab.shot("experiment-curves")


def test_a_lost_stream_says_so_and_catches_up(tab: Tab, dashboard: Federation, started: str) -> None:
    tab.sign_in()
    page = tab.open(f"/dashboard/experiments/{started}")
    page.get_by_text("Live: changes appear").wait_for()
    page.context.set_offline(True)
    dashboard.app.state.fedproc.streams._wake([started])
    job = dashboard.books.job_on(started, "UB")
    dashboard.app.state.fedproc.streams.ending = True
    dashboard.app.state.fedproc.streams._wake([started])
    page.get_by_text("Connection lost: what you see is of").wait_for()
    dashboard.app.state.fedproc.streams.ending = False
    dashboard.books.report(job.id, "running")
    assert not row(page, "UB").get_by_text("running").is_visible()
    page.context.set_offline(False)
    row(page, "UB").get_by_text("running").wait_for()
    page.get_by_text("Live: changes appear").wait_for()
    tab.complaints[:] = [text for text in tab.complaints if "ERR_" not in text and "Failed to fetch" not in text]


NOTED = """new MutationObserver(() => {
  window.said = (window.said || "") + document.getElementById("stream").textContent;
}).observe(document.getElementById("stream"), { childList: true })"""


def test_a_connection_that_says_nothing_is_told_and_made_anew(
    tab: Tab, dashboard: Federation, started: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab.page.clock.install()
    tab.sign_in()
    page = tab.open(f"/dashboard/experiments/{started}")
    page.get_by_text("Live: changes appear").wait_for()
    connections: list[str] = []
    page.on("request", lambda request: connections.append(request.url) if request.url.endswith("/live") else None)
    page.clock.run_for(30_000)
    assert page.locator("#stream").get_attribute("data-state") == "live"
    page.evaluate(NOTED)
    page.clock.run_for(60_000)
    page.wait_for_function("(window.said || '').includes('Connection lost')")
    page.get_by_text("Live: changes appear").wait_for()
    assert connections


def test_a_host_that_is_not_heard_of_any_more_is_told_though_nothing_happens(
    dashboard: Federation, rosa: httpx.Client, started: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dashboard.hear_everyone()  # the tests before may have taken as long as a host may be silent
    dashboard.books.report(dashboard.books.job_on(started, "UB").id, "running")
    monkeypatch.setattr(live, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(live, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(streams, "_SHARED_SECONDS", 0.05)
    with rosa.stream("GET", f"/dashboard/experiments/{started}/live") as stream:
        lines = stream.iter_lines()
        assert any("hx-swap-oob" in line for line in lines)
        assert any(line == "event: alive" for line in lines)
        quiet = list(itertools.islice((line for line in lines if line.startswith("event:") or "swap-oob" in line), 8))
        assert quiet == ["event: alive"] * 8  # what has not changed is not sent again
        with write_transaction(dashboard.engine) as connection:
            connection.execute(update(hosts).where(hosts.c.id == "UB").values(heard=time.time() - 3600))
        assert any("UB is not heard of now" in line for line in lines)
    dashboard.hear_everyone()


def test_a_stream_says_that_it_is_alive(
    dashboard: Federation, rosa: httpx.Client, started: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "POLL_SECONDS", 0.05)
    with rosa.stream("GET", f"/dashboard/experiments/{started}/live") as stream:
        lines = stream.iter_lines()
        alive = (line for line in lines if line == "event: alive")
        assert [next(alive), next(alive)]


def test_an_experiment_that_ends_says_how_to_cite_it(tab: Tab, dashboard: Federation, started: str) -> None:
    tab.sign_in()
    page = tab.open(f"/dashboard/experiments/{started}")
    page.get_by_text("Live: changes appear").wait_for()
    assert not page.get_by_role("heading", name="To cite it").is_visible()
    dashboard.books.bring(started, "running", "succeeded", task="local")
    dispatch(dashboard)
    dashboard.books.bring(started, "running", "succeeded", task="total")
    page.get_by_text("It has ended").wait_for()
    assert started in page.locator("#citation").inner_text()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the sentence").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#citation").inner_text()


@pytest.fixture
def rosa(dashboard: Federation) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=dashboard.url, follow_redirects=True, timeout=30, trust_env=False) as client:
        client.get("/dashboard/sign-in")
        yield client


def test_who_comes_back_gets_what_came_since(dashboard: Federation, rosa: httpx.Client, started: str) -> None:
    path = f"/dashboard/experiments/{started}/live"
    dashboard.books.bring(started, "running", "succeeded", task="local")
    dispatch(dashboard)
    dashboard.books.bring(started, "running", "succeeded", task="total")
    whole = rosa.get(path).text
    assert whole.rstrip().endswith("data: ended\n\n".rstrip()) or "event: ended" in whole
    last = max(int(line.removeprefix("id: ")) for line in whole.splitlines() if line.startswith("id: "))
    rest = rosa.get(path, headers={"Last-Event-ID": str(last)}).text
    assert "hx-swap-oob" not in rest
    assert "event: ended" in rest


def test_parts_that_could_not_be_had_come_later(
    dashboard: Federation, rosa: httpx.Client, started: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_AGAIN_SECONDS", 0.05)
    dashboard.books.bring(started, "running", "succeeded", task="local")
    dispatch(dashboard)
    dashboard.books.bring(started, "running", "succeeded", task="total")
    facts, failures = live.facts, [ApiError(503, {"detail": "the database is away"}), UnavailableError("gone")]

    async def at_last(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return await facts(*args)

    monkeypatch.setattr(live, "facts", at_last)
    messages = rosa.get(f"/dashboard/experiments/{started}/live").text.split("\n\n")
    kinds = [
        re.findall(r"^event: (.*)$", message, re.M) or ["html" if "hx-swap-oob" in message else ""]
        for message in messages
    ]
    assert [kind for [kind] in kinds if kind] == ["unavailable", "unavailable", "html", "ended"]
    ids = [int(found[0]) for message in messages if (found := re.findall(r"^id: (\d+)$", message, re.M))]
    assert ids[:2] == [0, 0]
    assert ids[2] == ids[3] > 0


def test_a_stream_ends_with_the_sign_in(dashboard: Federation, rosa: httpx.Client, started: str) -> None:
    with rosa.stream("GET", f"/dashboard/experiments/{started}/live") as stream:
        lines = stream.iter_lines()
        assert any("hx-swap-oob" in line for line in lines)
        with write_transaction(dashboard.engine) as connection:
            connection.execute(delete(sessions))
        dashboard.app.state.fedproc.streams._wake([started])
        assert "event: unavailable" in list(lines)


def test_a_user_has_so_many_streams(
    dashboard: Federation, rosa: httpx.Client, started: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_MOST_STREAMS", 1)
    path = f"/dashboard/experiments/{started}/live"
    with rosa.stream("GET", path) as stream:
        lines = stream.iter_lines()  # kept, as the stream ends with it
        assert any("hx-swap-oob" in line for line in lines)
        assert rosa.get(path).status_code == 429
        del lines


def test_another_persons_experiment_is_not_followed(dashboard: Federation, rosa: httpx.Client) -> None:
    with dashboard.user("ruth") as ruth:
        experiment = dashboard.start(ruth)["id"]
    assert rosa.get(f"/dashboard/experiments/{experiment}/live").status_code == 404
    assert rosa.get(f"/dashboard/experiments/{experiment}").status_code == 404


def test_a_result_is_fetched_and_nobody_elses(dashboard: Federation, rosa: httpx.Client, started: str) -> None:
    job = dashboard.books.job_on(started, "UB")
    dashboard.books.report(job.id, "running")
    file = dashboard.upload_output(job, "counts", "counts.json", b'{"rows": 12}')["id"]
    assert f"/dashboard/files/{file}/content" in rosa.get(f"/dashboard/experiments/{started}").text
    got = rosa.get(f"/dashboard/files/{file}/content", headers={"Range": "bytes=0-6"})
    assert (got.status_code, got.content) == (206, b'{"rows"')
    assert got.headers["content-disposition"].startswith("attachment")
    looked = rosa.get(f"/dashboard/files/{file}").text
    assert "<pre>{&#34;rows&#34;: 12}</pre>" in looked
    assert f'href="/dashboard/experiments/{started}"' in looked
    dashboard.issuer.signs_in = ("ruth", "researcher")
    with httpx.Client(base_url=dashboard.url, follow_redirects=True, timeout=30, trust_env=False) as ruth:
        ruth.get("/dashboard/sign-in")
        assert ruth.get(f"/dashboard/files/{file}/content").status_code == 404
        assert ruth.get(f"/dashboard/files/{file}").status_code == 404


def test_a_file_that_a_job_waits_for_is_sent_in_its_page(dashboard: Federation, rosa: httpx.Client) -> None:
    with dashboard.user() as client:
        experiment = dashboard.start(client, tool="train", datasets=[], hosts=["UB"], parameters={})["id"]
    job = dashboard.books.job_on(experiment, "UB")
    page = rosa.get(f"/dashboard/experiments/{experiment}").text
    token = re.findall(r'name="form_token" value="([0-9a-f]{64})"', page)[0]
    path = f"/dashboard/experiments/{experiment}/jobs/{job.id}/input"
    form = {"form_token": token}
    too_large = rosa.post(f"{path}/mask", data=form, files={"file": ("w.bin", b"x" * 1_100_000)})
    assert too_large.status_code == 413
    assert "no file was chosen" in rosa.post(f"{path}/mask", data=form, files={"file": ("", b"")}).text
    for name, missing in (("weights", 1), ("mask", 0)):
        assert f'action="{path}/{name}"' in page
        sent = rosa.post(f"{path}/{name}", data=form, files={"file": ("w.bin", b"x" * 300_000)})
        assert sent.status_code == 200, sent.text
        assert dashboard.books.job(job.id).uploads_missing == missing


def test_a_file_says_of_which_experiment_it_is(dashboard: Federation, rosa: httpx.Client, started: str) -> None:
    job = dashboard.books.job_on(started, "UB")
    dashboard.books.report(job.id, "running")
    dashboard.upload_output(job, "counts", "counts.json", b"{}")
    assert f'<a href="/dashboard/experiments/{started}">first look</a>' in rosa.get("/dashboard/files").text


def test_the_report_is_passed_on(dashboard: Federation, rosa: httpx.Client, started: str) -> None:
    report = rosa.get(f"/dashboard/experiments/{started}/report").json()
    assert (report["experiment"], len(report["jobs"])) == (started, 3)


def test_the_record_is_passed_on_as_a_zip(dashboard: Federation, rosa: httpx.Client, started: str) -> None:
    assert f'href="/dashboard/experiments/{started}/crate"' in rosa.get(f"/dashboard/experiments/{started}").text
    answer = rosa.get(f"/dashboard/experiments/{started}/crate")
    assert (answer.status_code, answer.content[:2]) == (200, b"PK")
    assert f"{started}.crate.zip" in answer.headers["content-disposition"]
