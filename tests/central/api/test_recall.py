"""A version of a tool is recalled by the federation's operator: what runs of it ends everywhere, nothing new begins."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import select
from tests.support.central_api import Federation, problem

from fedproc.central.db.engine import read_transaction
from fedproc.central.db.schema import audit, events, outbox

pytestmark = pytest.mark.server


@pytest.fixture
def rosa(lone: Federation) -> Iterator[httpx.Client]:
    with lone.user("rosa", "researcher") as client:
        yield client


REASON = "it wrote dates of birth into its result"
ASKED = {"version": "1.2.0", "reason": REASON}
COUNT = {"tool": "count", "datasets": ["UB:cohort"], "parameters": {"column": "age"}}


def _running(lone: Federation, rosa: httpx.Client) -> str:
    """An experiment whose first job has gone to its host."""
    started = lone.start(rosa, **COUNT)
    return str(started["id"])


def test_version_is_offered_and_started_no_more(lone: Federation, rosa: httpx.Client) -> None:
    done = lone.operator().post("/tools/count/recall", json=ASKED)
    assert done.status_code == 200, done.text
    assert done.json()["recalled"]["reason"] == REASON
    assert [tool["id"] for tool in rosa.get("/tools").json()] == ["train"]
    for answer in (rosa.get("/tools/count"), rosa.get("/tools/count", params={"version": "1.2.0"})):
        assert REASON in problem(answer, 404, "not_found.recalled")["detail"]
    for version in ({}, {"version": "1.2.0"}):
        refused = rosa.post("/experiments", json=COUNT | version)
        assert REASON in problem(refused, 422)["detail"]
    assert rosa.get("/tools/train").json()["recalled"] == []


def test_what_runs_is_told_to_end_at_every_host_with_the_reason(lone: Federation, rosa: httpx.Client) -> None:
    first, second = _running(lone, rosa), _running(lone, rosa)
    other = str(lone.start(rosa, tool="train", datasets=["UB:cohort"], parameters={})["id"])
    assert lone.operator().post("/tools/count/recall", json=ASKED).json()["experiments"] == 2
    with read_transaction(lone.engine) as connection:
        told = connection.execute(select(outbox).where(outbox.c.kind == "cancel")).all()
        ended = connection.execute(select(events).where(events.c.kind == "state", events.c.job.is_not(None))).all()
    reasons = [row.message["reason"] for row in told] + [row.data["reason"] for row in ended if row.data["code"]]
    assert len(reasons) >= 2
    assert all(REASON in reason for reason in reasons)
    codes = {row.message["code"] for row in told} | {row.data["code"] for row in ended if row.data["code"]}
    assert codes == {"tool.recalled"}
    for experiment in (first, second):
        jobs = rosa.get(f"/experiments/{experiment}").json()["jobs"]
        assert all(job["state"] == "cancelled" or "cancel" in str(told) for job in jobs)
    assert rosa.get(f"/experiments/{other}").json()["state"] in ("queued", "running")


def test_recall_is_in_the_audit_and_keeps_its_reason(lone: Federation) -> None:
    operator = lone.operator()
    operator.post("/tools/count/recall", json=ASKED)
    again = operator.post("/tools/count/recall", json=ASKED | {"reason": "another"}).json()
    assert (again["recalled"]["reason"], again["experiments"]) == (REASON, 0)
    with read_transaction(lone.engine) as connection:
        rows = connection.execute(select(audit).order_by(audit.c.id)).all()
    assert "count 1.2.0" in str(rows)
    assert REASON in str(rows)


def test_who_is_no_operator_recalls_nothing(lone: Federation, rosa: httpx.Client) -> None:
    problem(rosa.post("/tools/count/recall", json=ASKED), 403)
    assert rosa.get("/tools/count").status_code == 200


@pytest.mark.parametrize(
    "asked", [{"version": "9.9.9", "reason": "x"}, {"version": "1.2.0"}, {"version": "1.2.0", "reason": "a\nb"}]
)
def test_recall_of_what_is_not_there_or_without_a_reason_is_refused(lone: Federation, asked: dict[str, str]) -> None:
    answer = lone.operator().post("/tools/count/recall", json=asked)
    assert answer.status_code == (404 if asked["version"] == "9.9.9" else 422)
