"""The API about itself: its page, its audit, its metrics, and how it says no."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from tests.support.central_api import COUNT, Federation, problem

pytestmark = pytest.mark.server


@pytest.fixture
def anyone(federation: Federation) -> Iterator[httpx.Client]:
    with federation.caller(None) as client:
        yield client


# -- documentation


def test_a_program_gets_json_and_a_browser_a_page(anyone: httpx.Client) -> None:
    for accept in ("application/json", "*/*", ""):
        answer = anyone.get("/docs", headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["openapi"].startswith("3.1")
        assert "accept" in answer.headers["vary"].lower()
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    page = anyone.get("/docs", headers={"Accept": browser})
    assert page.headers["content-type"].startswith("text/html")
    assert page.text.startswith("<!doctype html>")
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in page.headers["content-security-policy"]
    for path in re.findall(r'(?:src|href)="(/docs/assets/[^"]+)"', page.text):
        assert anyone.get(path).status_code == 200, path
    problem(anyone.get("/docs/assets/LICENSE"), 404)
    assert anyone.get("/openapi.json").json() == anyone.get("/docs").json()


def test_there_is_a_page_without_scripts(anyone: httpx.Client) -> None:
    page = anyone.get("/docs", params={"plain": "true"}, headers={"Accept": "text/html"})
    assert "/experiments/{experiment_id}/events" in page.text
    assert "<script" not in page.text
    assert "script-src" not in page.headers["content-security-policy"]


# -- audit


def test_every_act_is_kept_with_its_outcome(federation: Federation) -> None:
    with federation.user("pia") as pia, federation.operator() as olga:
        made = pia.post("/experiments", json=COUNT).json()["id"]
        pia.post("/experiments", json={**COUNT, "tool": "nonesuch"})
        pia.get(f"/experiments/{made}")
        pia.post(f"/experiments/{made}/cancel")
        pia.post(f"/experiments/{made}/cancel")
        kept = olga.get("/audit", params={"actor": "pia"}).json()["items"]
        acts = [(act["action"], act["method"], act["outcome"], act["target"]) for act in kept]
        assert acts == [
            ("cancel_experiment", "POST", 409, None),
            ("cancel_experiment", "POST", 202, made),
            ("create_experiment", "POST", 422, None),
            ("create_experiment", "POST", 201, made),
        ]
        assert kept[0]["path"] == f"/experiments/{made}/cancel"
        moment = datetime.fromisoformat(kept[0]["time"])
        assert abs(moment.timestamp() - time.time()) < 60


def test_the_audit_is_asked_in_every_way(federation: Federation) -> None:
    with federation.user("quin") as quin, federation.operator() as olga:
        begin = datetime.now(UTC).isoformat()
        made = [quin.post("/experiments", json={**COUNT, "label": str(n)}).json()["id"] for n in range(5)]
        quin.post("/experiments", json={})
        end = datetime.now(UTC).isoformat()

        def ask(**query: object) -> list[str | None]:
            return [act["target"] for act in olga.get("/audit", params={"actor": "quin", **query}).json()["items"]]

        assert ask(outcome=201) == made[::-1]
        assert ask(outcome=422) == [None]
        assert ask(target=made[2]) == [made[2]]
        assert ask(action="create_experiment", outcome=201, limit=2) == [made[4], made[3]]
        assert ask(action="enrol_host") == []
        assert len(ask(since=begin)) == 6
        assert ask(until=begin) == []
        assert ask(since=end) == []
        page = olga.get("/audit", params={"actor": "quin", "limit": 4}).json()
        rest = olga.get("/audit", params={"actor": "quin", "limit": 4, "cursor": page["next"]}).json()
        assert [act["target"] for act in page["items"] + rest["items"]] == [None, *made[::-1]]
        assert rest["next"] is None
        for query in ({"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}, {"outcome": 7}, {"actor": "a\nb"}):
            problem(olga.get("/audit", params=query), 422)


def test_strangers_do_not_fill_the_audit(federation: Federation, anyone: httpx.Client) -> None:
    with federation.operator() as olga:
        before = olga.get("/audit", params={"limit": 1}).json()["items"]
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic x"}):
            problem(anyone.post("/experiments", json=COUNT, headers=headers), 401)
        assert olga.get("/audit", params={"limit": 1}).json()["items"] == before
    assert 'fedproc_api_requests_total{method="POST",route="/experiments",status="401"}' in anyone.get("/metrics").text


def test_a_hosts_acts_are_the_hosts(federation: Federation) -> None:
    with federation.host("UB") as host, federation.operator() as olga:
        host.post("/hosts/UB/inventory", json={"epoch": "one", "jobs": []})
        last = olga.get("/audit", params={"actor": "host:UB", "limit": 1}).json()["items"][0]
    assert (last["action"], last["target"], last["detail"]) == ("take_inventory", "UB", "epoch=one jobs=0")


# -- metrics


def test_metrics_count_and_name_nobody(federation: Federation, anyone: httpx.Client) -> None:
    with federation.user() as rosa:
        rosa.post("/experiments", json=COUNT)
        rosa.get("/experiments/e-" + "0" * 26)
    text = anyone.get("/metrics").text
    assert 'fedproc_hosts{alive="true"} 4.0' in text
    assert 'fedproc_open_jobs{state="queued"}' in text
    assert 'fedproc_open_experiments{state="queued"}' in text
    assert 'fedproc_api_requests_total{method="POST",route="/experiments",status="201"}' in text
    assert 'route="/experiments/{experiment_id}",status="404"' in text
    assert "rosa" not in text


# -- no


def test_what_is_not_there_and_what_is_not_done(anyone: httpx.Client) -> None:
    assert "/docs lists" in problem(anyone.get("/nothing"), 404)["detail"]
    answer = anyone.delete("/experiments")
    assert "it takes" in problem(answer, 405)["detail"]
    assert answer.headers["allow"] == "GET, POST"
    answer = anyone.put(f"/uploads/f-{'0' * 26}")
    assert problem(answer, 405)["detail"].endswith("it takes DELETE, HEAD, PATCH")
    assert answer.headers["allow"] == "DELETE, HEAD, PATCH"
    assert problem(anyone.get("/experiments"), 401)["instance"] == "/experiments"


@pytest.mark.parametrize("path", ["/tools/", "//tools", "/experiments/", "/%2e%2e/etc/passwd", "/docs/../audit%00"])
def test_paths_are_taken_as_they_are(anyone: httpx.Client, path: str) -> None:
    assert anyone.get(path).status_code in {401, 404}


def test_the_api_tells_nothing_of_a_fault_of_its_own(
    federation: Federation, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedproc.central.api.routes.tools.tools.newest_of_each", lambda _: 1 / 0)
    with federation.user() as rosa:
        body = problem(rosa.get("/tools"), 500, "internal")
    assert "division" not in json.dumps(body)
    error_id = body["instance"].removeprefix("urn:uuid:").replace("-", "")
    (record,) = [r for r in caplog.records if isinstance(r.msg, dict) and r.msg.get("error_id") == error_id]
    assert "ZeroDivisionError" in record.msg["exception"]


def test_while_the_database_is_away_the_api_says_so(lone: Federation) -> None:
    with lone.user() as rosa:
        assert rosa.get("/tools").status_code == 200
        (lone.folder / "central.db").rename(lone.folder / "elsewhere.db")
        (lone.folder / "central.db").mkdir()
        lone.app.state.fedproc.engine.dispose()
        answer = rosa.get("/tools")
        assert "does not answer" in problem(answer, 503, "unavailable.database")["detail"]
        assert answer.headers["retry-after"]
        health = rosa.get("/hosts/health/")
        assert (health.status_code, health.json()["status"], health.json()["database"]) == (503, "degraded", "fails")
        with lone.operator() as olga:
            assert "does not answer" in olga.get("/hosts/health/").json()["database"]
        (lone.folder / "central.db").rmdir()
        (lone.folder / "elsewhere.db").rename(lone.folder / "central.db")
        assert rosa.get("/tools").status_code == 200


@pytest.mark.needs_postgres
@pytest.mark.parametrize("federation", ["postgresql"], indirect=True)
def test_connections_that_the_database_closed_are_replaced(
    federation: Federation, request: pytest.FixtureRequest
) -> None:
    with federation.user() as rosa:
        for ask in (lambda: rosa.get("/experiments"), lambda: rosa.post("/experiments", json=COUNT)):
            assert ask().status_code < 300
            request.getfixturevalue("postgres").close_connections(federation.engine.url.database)
            first = ask()
            if first.status_code >= 300:
                problem(first, 503, "unavailable.database")
            assert ask().status_code < 300
