"""Who may use a dataset, as a user meets it when an experiment is started, and as orders say it."""

from __future__ import annotations

import base64
import io
import json
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey
from sqlalchemy import select, update
from tests.central.conftest import new_database
from tests.support.central_api import COUNT, Federation, problem
from tests.support.issuer import EXCHANGE, TestIssuer
from tests.support.providers import Adapter

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import tools
from fedproc.central.db.schema import experiments
from fedproc.central.db.sign_in_tables import delegations
from fedproc.central.grants.answers import SessionEndedError
from fedproc.central.grants.delegations import Delegations
from fedproc.central.grants.exchange import Exchange, Session
from fedproc.contract.wire.messages import JobOrder
from fedproc.demo.polling import free_ports

pytestmark = pytest.mark.server


@pytest.fixture
def adapter() -> Iterator[Adapter]:
    with Adapter() as running:
        yield running


@pytest.fixture
def exchanging(request: pytest.FixtureRequest) -> Iterator[TestIssuer]:
    """One that exchanges tokens, unless a test says False."""
    with TestIssuer() as running:
        if getattr(request, "param", True):
            running.grant_types.append(EXCHANGE)
        yield running


@pytest.fixture
def guarded(
    request: pytest.FixtureRequest, tmp_path: Path, exchanging: TestIssuer, adapter: Adapter
) -> Iterator[Federation]:
    """An API that asks the adapter about UB's datasets, and about no others'."""
    tells = "told" in request.fixturenames
    (tmp_path / "api.key").write_bytes(ECKey.generate_key("P-256").as_pem(private=True))
    asked = {
        "providers": {
            "eucaim": {"kind": "negotiator", "url": adapter.url, "ask_at": "https://ask.test", "projects": tells}
        },
        "hosts": {"UB": "eucaim"},
    }
    issuer = {"url": exchanging.url, "client_key": tmp_path / "api.key"}
    database, port = new_database(request, "sqlite", tmp_path), free_ports(1)[0]
    own = {"grants": asked, "issuer": issuer, "port": port, "public_url": f"http://127.0.0.1:{port}"}
    with Federation(database, tmp_path, exchanging, **own) as running:
        running.enrol_everyone()
        yield running


@pytest.fixture
def rosa(guarded: Federation) -> Iterator[httpx.Client]:
    with guarded.user() as client:
        yield client


def kept(guarded: Federation) -> list[Any]:
    with read_transaction(guarded.engine) as connection:
        return list(connection.execute(select(delegations)))


def count(guarded: Federation) -> int:
    with read_transaction(guarded.engine) as connection:
        return len(connection.execute(select(experiments.c.id)).all())


def test_user_without_a_grant_is_told_which_dataset_and_where_to_ask(guarded: Federation, rosa: httpx.Client) -> None:
    found = problem(rosa.post("/experiments", json=COUNT), 403, "grant.not_granted")
    assert "UB:cohort" in found["detail"]
    assert "https://ask.test" in found["detail"]
    assert "BSC" not in found["detail"]
    assert [entry["where"] for entry in found["errors"]] == ["datasets.UB:cohort"]
    assert count(guarded) == 0
    assert kept(guarded) == []


def test_every_way_to_start_one_asks(guarded: Federation, rosa: httpx.Client) -> None:
    values = {name: value for name, value in COUNT.items() if name != "tool"}
    problem(rosa.post("/tools/job/count", json=values), 403, "grant.not_granted")
    by_get = rosa.get("/tools/job/count", params={"datasets": "UB:cohort", "parameters": '{"column": "age"}'})
    problem(by_get, 403, "grant.not_granted")


def test_nobody_is_asked_about_datasets_that_are_open(
    guarded: Federation, rosa: httpx.Client, adapter: Adapter
) -> None:
    guarded.start(rosa, datasets=["BSC:cohort"])
    assert adapter.asked == []
    assert kept(guarded) == []
    assert all(order.grants == () for _, order in guarded.books.dispatch() if isinstance(order, JobOrder))


def test_user_with_a_grant_starts_it_and_the_order_says_by_which(
    guarded: Federation, rosa: httpx.Client, adapter: Adapter
) -> None:
    permit = adapter.make_available("UB:cohort")
    view = guarded.start(rosa, permit="what I wrote", project="mine")
    orders = {host: order for host, order in guarded.books.dispatch() if isinstance(order, JobOrder)}
    (grant,) = orders["UB"].grants
    assert (grant.dataset, grant.provider, grant.permit) == ("cohort", "eucaim", permit)
    assert orders["BSC"].grants == ()
    assert orders["UB"].permit == permit
    assert view["permit"] == permit
    assert orders["UB"].project == "mine"
    assert {token for _, _, token in adapter.asked} == {rosa.headers["authorization"]}


def test_an_adapter_that_is_away_starts_nothing(guarded: Federation, rosa: httpx.Client, adapter: Adapter) -> None:
    adapter.make_available("UB:cohort")
    adapter.status = 502
    found = problem(rosa.post("/experiments", json=COUNT), 503, "grant.not_asked")
    assert "502" in found["detail"]
    assert count(guarded) == 0


def test_what_cannot_be_placed_is_told_before_anybody_is_asked(rosa: httpx.Client, adapter: Adapter) -> None:
    problem(rosa.post("/experiments", json={**COUNT, "datasets": ["UB:cohrt"]}), 422, "placement")
    assert adapter.asked == []


def test_request_that_is_repeated_finds_its_experiment_though_the_grant_is_gone(
    guarded: Federation, rosa: httpx.Client, adapter: Adapter
) -> None:
    adapter.make_available("UB:cohort")
    key = {"Idempotency-Key": "one"}
    first = rosa.post("/experiments", json=COUNT, headers=key)
    adapter.concluded.clear()
    again = rosa.post("/experiments", json=COUNT, headers=key)
    assert (first.status_code, again.json()["id"]) == (201, first.json()["id"])
    problem(rosa.post("/experiments", json=COUNT), 403, "grant.not_granted")


def test_the_session_is_kept_encrypted_until_the_experiment_ends(
    guarded: Federation, rosa: httpx.Client, adapter: Adapter
) -> None:
    adapter.make_available("UB:cohort")
    view = guarded.start(rosa)
    (row,) = kept(guarded)
    assert row.experiment == view["id"]
    assert "held" not in row.sealed
    assert rosa.post(f"/experiments/{view['id']}/cancel").status_code == 202
    assert kept(guarded) == []


def test_user_whose_session_ended_meanwhile_starts_nothing(
    guarded: Federation, rosa: httpx.Client, adapter: Adapter, exchanging: TestIssuer
) -> None:
    adapter.make_available("UB:cohort")
    exchanging.sessions_ended.add("rosa")
    assert rosa.post("/experiments", json=COUNT).status_code in {401, 503}
    assert count(guarded) == 0


# -- project, permit and purpose by the provider's word


@pytest.fixture
def told() -> dict[str, str]:
    """What a grant of UB's dataset tells; for tests that ask for this, the provider is one that tells projects."""
    return {"project": "breast-2026", "permit": "N-1", "purpose": "research"}


def orders_of(guarded: Federation) -> dict[str, JobOrder]:
    return {host: order for host, order in guarded.books.dispatch() if isinstance(order, JobOrder)}


def test_what_the_grant_says_is_filled_in_and_said_to_be_the_providers_word(
    guarded: Federation, rosa: httpx.Client, adapter: Adapter, told: dict[str, str]
) -> None:
    adapter.make_available("UB:cohort", **told)
    view = guarded.start(rosa)
    assert {name: view[name] for name in told} == told
    assert view["told_by"] == dict.fromkeys(told, "eucaim")
    for order in orders_of(guarded).values():
        assert {name: getattr(order, name) for name in told} == told
        assert order.told_by == view["told_by"]
    zipped = rosa.get(f"/experiments/{view['id']}/crate").content
    with zipfile.ZipFile(io.BytesIO(zipped)) as bag:
        (name,) = [name for name in bag.namelist() if name.endswith("data/ro-crate-metadata.json")]
        found = {entity["@id"]: entity for entity in json.loads(bag.read(name))["@graph"]}
    assert found["#project"]["description"] == found["#permit"]["description"] == "as the provider eucaim granted it"
    assert "purpose: as the provider eucaim granted it" in found["#conditions"]["description"]
    own = guarded.start(rosa, datasets=["BSC:cohort"], project="mine")
    assert (own["project"], own["told_by"]) == ("mine", {})
    assert all(order.told_by == {} for order in orders_of(guarded).values())


def test_experiment_of_a_release_before_does_not_say_whose_word_its_terms_are(
    guarded: Federation, rosa: httpx.Client
) -> None:
    view = guarded.start(rosa, datasets=["BSC:cohort"], project="mine", permit="N-1")
    with write_transaction(guarded.engine) as connection:
        request = connection.execute(select(experiments.c.request)).scalar_one()
        assert request.pop("told_by") == {}
        connection.execute(update(experiments).values(request=request))
    assert rosa.get(f"/experiments/{view['id']}").json()["told_by"] is None
    zipped = rosa.get(f"/experiments/{view['id']}/crate").content
    with zipfile.ZipFile(io.BytesIO(zipped)) as bag:
        (name,) = [name for name in bag.namelist() if name.endswith("data/ro-crate-metadata.json")]
        found = {entity["@id"]: entity for entity in json.loads(bag.read(name))["@graph"]}
    whose = {found[one]["description"] for one in ("#project", "#permit")}
    assert whose == {"the release that made this experiment did not note whose word it is"}


@pytest.mark.parametrize("path", ["/experiments", "/experiments/dry-run"])
def test_project_that_was_not_granted_is_refused_at_its_field(
    guarded: Federation, rosa: httpx.Client, adapter: Adapter, told: dict[str, str], path: str
) -> None:
    adapter.make_available("UB:cohort", **told)
    found = problem(rosa.post(path, json={**COUNT, "project": "another"}), 422, "grant.project")
    assert [entry["where"] for entry in found["errors"]] == ["project"]
    forecast = rosa.post("/experiments/dry-run", json=COUNT).json()
    assert (forecast["project"], forecast["told_by"]["project"]) == (told["project"], "eucaim")
    assert "'breast-2026'" in found["detail"]
    assert (count(guarded), kept(guarded)) == (0, [])


def test_grant_that_moved_to_another_project_is_told_to_the_host_as_gone(
    guarded: Federation, rosa: httpx.Client, adapter: Adapter, told: dict[str, str]
) -> None:
    adapter.make_available("UB:cohort", **told)
    view = guarded.start(rosa)
    orders_of(guarded)
    job = guarded.books.job_on(view["id"], "UB")
    assert ask(guarded, job).json()["answer"] == "granted"
    adapter.concluded[0] |= {"project": "another"}
    body = ask(guarded, job).json()
    assert (body["answer"], body.get("token")) == ("not_granted", None)
    assert "is now for the project 'another'" in body["reason"]


def test_held_experiment_starts_only_while_its_project_is_granted(
    guarded: Federation, rosa: httpx.Client, adapter: Adapter, told: dict[str, str]
) -> None:
    adapter.make_available("UB:cohort", **told)
    view = guarded.start(rosa, prepare=True)
    adapter.concluded[0] |= {"project": "another"}
    problem(rosa.post(f"/experiments/{view['id']}/start"), 422, "grant.project")
    adapter.concluded[0] |= {"project": told["project"], "permit": "N-2"}
    assert rosa.post(f"/experiments/{view['id']}/start").status_code == 202


def test_researcher_is_told_what_a_grant_says(
    guarded: Federation, rosa: httpx.Client, adapter: Adapter, told: dict[str, str]
) -> None:
    def standing(dataset: str = "UB:cohort") -> dict[str, Any]:
        return dict(rosa.get(f"/datasets/{dataset}/grant").json())

    assert (standing()["answer"], standing()["ask_at"]) == ("not_granted", "https://ask.test")
    adapter.make_available("UB:cohort", **told)
    found = standing()
    assert (found["answer"], found["provider"], found["grants"]) == ("granted", "eucaim", [{**told, "until": None}])
    adapter.status = 500
    assert standing()["answer"] == "not_asked"
    assert standing("BSC:cohort")["answer"] == "open"
    problem(rosa.get("/datasets/UB:cohrt/grant"), 404)
    with guarded.host("UB") as host:
        assert host.get("/datasets/UB:cohort/grant").status_code == 403


# -- asked again, by the host of a job


@pytest.fixture
def job(guarded: Federation, rosa: httpx.Client, adapter: Adapter) -> Any:
    """A job of rosa's on UB, which was dispatched with its grant."""
    adapter.make_available("UB:cohort")
    view = guarded.start(rosa)
    guarded.books.dispatch()
    return guarded.books.job_on(view["id"], "UB")


def ask(guarded: Federation, job: Any, host: str = "UB", path_host: str = "UB") -> httpx.Response:
    with guarded.host(host) as client:
        return client.post(f"/hosts/{path_host}/jobs/{job.id}/grants")


def claims(token: str) -> dict[str, Any]:
    return dict(json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")))


def test_host_gets_the_users_token_for_itself_alone(guarded: Federation, job: Any, adapter: Adapter) -> None:
    asked = len(adapter.asked)
    answer = ask(guarded, job)
    body = answer.json()
    assert (answer.status_code, body["answer"]) == (200, "granted"), answer.text
    assert answer.headers["cache-control"] == "no-store"
    given = claims(body["token"])
    assert (given["aud"], given["sub"]) == (["host-UB"], "rosa")
    assert given["exp"] - given["iat"] <= 300
    assert len(adapter.asked) > asked
    assert "held" not in answer.text


def test_grant_that_was_withdrawn_is_told_with_its_dataset(guarded: Federation, job: Any, adapter: Adapter) -> None:
    adapter.concluded.clear()
    body = ask(guarded, job).json()
    assert (body["answer"], body.get("token")) == ("not_granted", None)
    assert "UB:cohort" in body["reason"]
    assert [entry["answer"] for entry in body["datasets"]] == ["not_granted"]


def test_adapter_that_is_away_is_no_withdrawal(guarded: Federation, job: Any, adapter: Adapter) -> None:
    adapter.status = 500
    body = ask(guarded, job).json()
    assert (body["answer"], body.get("token")) == ("not_asked", None)


def test_session_that_has_ended_is_a_state_of_its_own(
    guarded: Federation, job: Any, adapter: Adapter, exchanging: TestIssuer
) -> None:
    exchanging.sessions_ended.add("rosa")
    asked = len(adapter.asked)
    body = ask(guarded, job).json()
    assert (body["answer"], body.get("token")) == ("session_ended", None)
    assert len(adapter.asked) == asked


def test_job_is_asked_about_again_and_again_by_the_newest_refresh_token(guarded: Federation, job: Any) -> None:
    before = kept(guarded)[0].sealed
    assert [ask(guarded, job).json()["answer"] for _ in range(3)] == ["granted"] * 3
    assert kept(guarded)[0].sealed != before


@pytest.mark.parametrize("own", ["UB", "BSC"])
def test_a_host_asks_for_its_own_jobs_alone(guarded: Federation, job: Any, rosa: httpx.Client, own: str) -> None:
    other = ask(guarded, job, host="BSC", path_host=own)
    assert other.status_code == (403 if own == "UB" else 404)
    problem(rosa.post(f"/hosts/UB/jobs/{job.id}/grants"), 403)
    assert "token" not in other.json()


def test_no_token_is_given_for_a_job_that_has_ended(guarded: Federation, job: Any, rosa: httpx.Client) -> None:
    guarded.books.report(job.id, "running")
    guarded.books.report(job.id, "failed", code="tool_fault.exit")
    problem(ask(guarded, job), 409, "conflict.ended")


EXCHANGED: dict[str, dict[str, Any]] = {
    "for another host": {"aud": ["host-BSC"]},
    "for the API": {"aud": ["fedproc-api"]},
    "for two": {"aud": ["host-UB", "fedproc-api"]},
    "for nobody": {"aud": None},
    "of another user": {"sub": "mallory"},
    "of an hour": {"exp": int(time.time()) + 3600},
    "without an end": {"exp": None},
}


@pytest.mark.parametrize("wrong", EXCHANGED)
def test_exchanged_token_that_is_not_as_it_should_be_reaches_no_host(
    guarded: Federation, job: Any, exchanging: TestIssuer, wrong: str
) -> None:
    exchanging.exchanged = EXCHANGED[wrong]
    body = ask(guarded, job).json()
    assert body.get("token") is None
    assert body["answer"] == "granted"
    assert body["reason"]


@pytest.mark.parametrize("exchanging", [False], indirect=True)
def test_issuer_that_exchanges_nothing_starts_nothing_that_nobody_could_ask_about_again(
    guarded: Federation, rosa: httpx.Client, adapter: Adapter
) -> None:
    adapter.make_available("UB:cohort")
    problem(rosa.post("/experiments", json=COUNT), 503, "grant.no_session")
    assert count(guarded) == 0
    guarded.start(rosa, datasets=["BSC:cohort"])


def test_session_that_another_process_has_renewed_has_not_ended(
    guarded: Federation, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The issuer lets a refresh token count once; the other process keeps the new one a little later."""
    renewed, before = Exchange.renew, kept(guarded)[0].sealed
    used: list[str] = []

    async def once(self: Exchange, refresh: str) -> Session:
        if refresh in used:
            raise SessionEndedError("it was used before")
        used.append(refresh)
        return await renewed(self, refresh)

    monkeypatch.setattr(Exchange, "renew", once)
    assert ask(guarded, job).json()["answer"] == "granted"
    seen, looked_up = [before, before], Delegations._kept
    monkeypatch.setattr(
        Delegations, "_kept", lambda self, experiment: seen.pop() if seen else looked_up(self, experiment)
    )
    assert ask(guarded, job).json()["answer"] == "granted"
    monkeypatch.setattr(Delegations, "_kept", lambda *_: before)
    assert ask(guarded, job).json()["answer"] == "session_ended"


def test_form_says_why_a_dataset_cannot_be_chosen(
    guarded: Federation, adapter: Adapter, exchanging: TestIssuer
) -> None:
    exchanging.signs_in = ("rosa", "researcher")
    with read_transaction(guarded.engine) as connection:
        digest = tools.find(connection, "count").digest
    for host in ("UB", "BSC"):
        guarded.books.beat(host, tools=({"id": "count", "digest": digest},))
    address = "/dashboard/new?tool=count&dataset=UB:cohort&dataset=BSC:cohort"
    with httpx.Client(base_url=guarded.url, follow_redirects=True, timeout=30, trust_env=False) as rosa:
        rosa.get("/dashboard/sign-in")
        without = box(rosa.get(address).text, "UB:cohort")
        adapter.make_available("UB:cohort")
        granted = box(rosa.get(address).text, "UB:cohort")
        adapter.status = 503
        away = box(rosa.get(address).text, "UB:cohort")
        open_to_all = box(rosa.get(address).text, "BSC:cohort")
    assert "disabled" in without
    assert "https://ask.test" in without
    assert "checked" in granted
    assert "disabled" not in away
    assert "could not be asked now" in away
    assert "grant" not in open_to_all
    assert "checked" in open_to_all


def test_form_and_dataset_show_what_the_grant_says(
    guarded: Federation, rosa: httpx.Client, adapter: Adapter, exchanging: TestIssuer, told: dict[str, str]
) -> None:
    exchanging.signs_in = ("rosa", "researcher")
    adapter.make_available("UB:cohort", **told)
    earlier = guarded.start(rosa, label="first")["id"]
    with httpx.Client(base_url=guarded.url, follow_redirects=True, timeout=30, trust_env=False) as browser:
        browser.get("/dashboard/sign-in")
        form = browser.get("/dashboard/new?tool=count&dataset=UB:cohort").text
        dataset = browser.get("/dashboard/datasets/UB:cohort").text
        again = browser.get(f"/dashboard/new?from={earlier}").text
    assert "your grants say breast-2026; left empty, it is filled in" in form
    assert '<datalist id="granted-project"><option value="breast-2026">' in form
    assert "project <strong>breast-2026</strong>, permit <strong>N-1</strong>" in dataset
    assert 'name="label" value="first"' in again
    assert 'name="permit" value=""' in again, "what a grant said then it says anew"


def box(page: str, dataset: str) -> str:
    """The line of one dataset in the form."""
    [found] = re.findall(rf'<li[^>]*><label><input type="checkbox" name="dataset" value="{dataset}".*?</li>', page)
    return str(found)
