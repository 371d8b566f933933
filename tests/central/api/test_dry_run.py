"""What an experiment would come to: checked as a submission is, and nothing is started or written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update
from tests.central.conftest import new_database
from tests.support.books import HOSTS
from tests.support.central_api import COUNT, Federation, problem
from tests.support.issuer import EXCHANGE, TestIssuer
from tests.support.providers import Adapter

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.schema import audit, experiments, hosts, outbox
from fedproc.contract.wire.datasets import DatasetColumn, DatasetColumns, ImagingCounts, ImagingSummary
from fedproc.contract.wire.releasing import AdmittedTool, BudgetLeft, ReleasePolicy, scope_of

pytestmark = pytest.mark.server


def asked(client: httpx.Client, **request: Any) -> dict[str, Any]:
    answer = client.post("/experiments/dry-run", json={**COUNT, **request})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


AGE = DatasetColumn(name="age", type="integer")
ADMITS = (AdmittedTool(id="count"),)


@pytest.fixture(autouse=True)
def _hosts_admit_it(request: pytest.FixtureRequest) -> None:
    if "federation" in request.fixturenames:
        hear(request.getfixturevalue("federation"))


def hear(federation: Federation) -> None:
    """Each host says that it lives, and admits the tool."""
    for host in HOSTS:
        federation.books.beat(host, tools=ADMITS)


def host_of(found: dict[str, Any], host: str) -> dict[str, Any]:
    (one,) = [entry for entry in found["hosts"] if entry["host"] == host]
    return dict(one)


def stands(found: dict[str, Any], host: str) -> dict[str, str]:
    return {check["what"]: check["stands"] for check in host_of(found, host)["checks"]}


def outcomes(found: dict[str, Any], host: str) -> dict[str, str]:
    return {entry["output"]: entry["outcome"] for entry in host_of(found, host)["outputs"]}


def written(federation: Federation) -> list[int]:
    with read_transaction(federation.engine) as connection:
        return [len(connection.execute(select(table)).all()) for table in (experiments, outbox, audit)]


def test_it_says_of_each_host_what_would_be_and_writes_nothing(federation: Federation, rosa: httpx.Client) -> None:
    before = written(federation)
    found = asked(rosa)
    assert written(federation) == before
    assert [entry["host"] for entry in found["hosts"]] == ["UB", "BSC", "EUCAIM"]
    assert [entry["tasks"] for entry in found["hosts"]] == [["local"], ["local"], ["total"]]
    assert (found["tool"], found["version"], found["would_run"]) == ("count", "1.2.0", True)
    assert stands(found, "UB") == {
        "online": "ok", "accepting": "ok", "tool": "ok", "runtime": "waits", "data": "ok",
    }  # fmt: skip
    assert outcomes(found, "UB") == {"counts": "waits", "plots": "waits"}
    assert "wait for a person" in host_of(found, "UB")["outputs"][0]["because"][0]
    assert host_of(found, "UB")["policy"] == "default"
    assert found["experiments_left"] > 0
    assert found["stored_left"] > 0


def test_it_refuses_what_a_submission_refuses_and_in_the_same_words(federation: Federation, rosa: httpx.Client) -> None:
    for wrong in ({"tool": "nonesuch"}, {"datasets": ["UB:cohrot"]}, {"parameters": {}}, {"hosts": ["MARS"]}):
        said = [rosa.post(path, json={**COUNT, **wrong}) for path in ("/experiments/dry-run", "/experiments")]
        assert [answer.status_code for answer in said] == [422, 422]
        texts = [{**answer.json(), "instance": None} for answer in said]
        assert texts[0] == texts[1]


def test_hosts_own_policy_counts_as_far_as_it_tells_it(federation: Federation, rosa: httpx.Client) -> None:
    own = ReleasePolicy(release={"aggregate": "automatic", "report": "never"}, floor=20)
    line = AdmittedTool(id="count", without_review=("aggregate",))
    federation.books.beat("UB", policy=own, tools=(line,))
    found = asked(rosa)
    assert (host_of(found, "UB")["policy"], host_of(found, "UB")["floor"]) == ("own", 20)
    assert outcomes(found, "UB") == {"counts": "leaves", "plots": "leaves"}
    assert outcomes(found, "BSC") == {"counts": "waits", "plots": "waits"}
    line = AdmittedTool(id="count", release={"aggregate": "a word of a later release"})
    federation.books.beat("UB", policy=own, tools=(line,))
    assert outcomes(asked(rosa), "UB") == {"counts": "waits", "plots": "waits"}
    federation.books.beat("UB", policy=ReleasePolicy(release={}), tools=(AdmittedTool(id="count"),))
    assert outcomes(asked(rosa), "UB") == {"counts": "never", "plots": "never"}


def test_what_a_site_demands_for_its_persons_and_is_not_asked_for_is_told_before(
    federation: Federation, rosa: httpx.Client
) -> None:
    federation.books.beat("UB", tools=(AdmittedTool(id="count", secure_sums=True),))
    most = {"epsilon": 1.0, "delta": 1e-6}
    federation.books.beat("BSC", tools=(AdmittedTool(id="count", differential_privacy=most),))
    found = asked(rosa)
    assert not found["would_run"]
    for host, what in (("UB", "secure sums"), ("BSC", "differential privacy")):
        (text,) = [check["text"] for check in host_of(found, host)["checks"] if check["stands"] == "fails"]
        assert text == f"this site demands {what} of this tool: this version has no parameter for it; ask the site"


def test_selection_that_fits_nobody_is_told_as_far_as_the_host_counts(
    federation: Federation, rosa: httpx.Client
) -> None:
    images = ImagingSummary(floor=10, persons=50, modality=ImagingCounts(persons={"CT": 50}))
    page = DatasetColumns(dataset="cohort", version="1", page=0, pages=1, columns=(AGE,), imaging=images)
    federation.books.beat("UB", columns=page, tools=ADMITS)
    found = asked(rosa, selection={"modality": ["US"]})
    assert (stands(found, "UB")["data"], stands(found, "BSC")["data"], found["would_run"]) == ("fails", "ok", False)
    (text,) = [check["text"] for check in host_of(found, "UB")["checks"] if check["what"] == "data"]
    assert text == "cohort has no images with modality=US (it has CT)"
    assert asked(rosa, selection={"modality": ["CT"]})["would_run"]


def test_host_that_could_not_run_it_is_told_with_the_reason(federation: Federation, rosa: httpx.Client) -> None:
    federation.books.beat("UB", condition="stopped", condition_text="maintenance", tools=())
    found = asked(rosa)
    assert not found["would_run"]
    assert stands(found, "UB")["accepting"] == stands(found, "UB")["tool"] == "fails"
    assert "maintenance" in [check["text"] for check in host_of(found, "UB")["checks"]]
    hear(federation)
    assert asked(rosa)["would_run"]


def test_host_that_is_silent_holds_up_its_jobs_and_ends_none(lone: Federation) -> None:
    hear(lone)
    with write_transaction(lone.engine) as connection:
        connection.execute(update(hosts).where(hosts.c.id == "UB").values(heard=time.time() - 3600))
    with lone.user() as rosa:
        found = asked(rosa)
    assert (stands(found, "UB")["online"], found["would_run"]) == ("waits", True)


def test_budget_is_that_of_the_project_or_of_the_user_who_names_none(
    federation: Federation, rosa: httpx.Client
) -> None:
    told = (
        BudgetLeft(scope=scope_of(stated="P7"), dataset="cohort", left="nearly"),
        BudgetLeft(scope=scope_of(user="rosa"), dataset="cohort", left="none"),
    )
    federation.books.beat("UB", policy=ReleasePolicy(), budgets=told)
    for who, project, left in (("vera", "P7", "nearly"), ("vera", None, "left"), ("vera", "P8", "left"),
                               ("rosa", None, "none"), ("rosa", "P7", "none"), ("rosa", "P8", "none")):  # fmt: skip
        with federation.user(who) as client:
            found = host_of(asked(client, project=project), "UB")["budgets"]
        assert found == [{"dataset": "UB:cohort", "left": left}], (who, project)
    assert host_of(asked(rosa), "BSC")["budgets"] == [], "it keeps no ledger, as far as is known"


def test_nobody_but_a_researcher_is_answered(federation: Federation) -> None:
    with federation.caller(None) as nobody, federation.host("UB") as host:
        problem(nobody.post("/experiments/dry-run", json=COUNT), 401)
        problem(host.post("/experiments/dry-run", json=COUNT), 403)


@pytest.fixture
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Federation, Adapter]]:
    """An API that asks the adapter about UB's datasets."""
    with Adapter() as adapter, TestIssuer() as issuer:
        issuer.grant_types.append(EXCHANGE)
        asked_of = {"providers": {"eucaim": {"kind": "negotiator", "url": adapter.url}}, "hosts": {"UB": "eucaim"}}
        database = new_database(request, "sqlite", tmp_path)
        with Federation(database, tmp_path, issuer, grants=asked_of) as running:
            running.enrol_everyone()
            yield running, adapter


def test_dataset_without_a_grant_is_an_answer_and_no_error(guarded: tuple[Federation, Adapter]) -> None:
    federation, _ = guarded
    hear(federation)
    with federation.user() as rosa:
        found = asked(rosa)
    (grant,) = host_of(found, "UB")["grants"]
    assert (grant["dataset"], grant["answer"]) == ("UB:cohort", "not_granted")
    assert not found["would_run"]
    assert host_of(found, "BSC")["grants"] == []
