"""Hosts, their datasets, and the federation's health (D6.1, Hosts)."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey
from sqlalchemy import insert, update
from tests.support.books import kinds
from tests.support.central_api import Federation, problem
from tests.support.issuer import TestIssuer

from fedproc.central.db.engine import write_transaction
from fedproc.central.db.repositories import dataset_columns
from fedproc.central.db.schema import hosts as host_rows
from fedproc.central.db.schema import relays
from fedproc.common.keys import public_jwk
from fedproc.contract.times import now
from fedproc.contract.wire.messages import HostReport

pytestmark = pytest.mark.server


def test_the_active_hosts(rosa: httpx.Client) -> None:
    hosts = rosa.get("/hosts/").json()
    assert [host["id"] for host in hosts] == ["BSC", "EUCAIM", "FORTH", "UB"]
    assert rosa.get("/hosts").json() == hosts


def test_a_host_tells_its_role_its_resources_and_its_tools(federation: Federation, rosa: httpx.Client) -> None:
    federation.books.beat("FORTH", tools=({"id": "count", "digest": None},), software="9.1", open_jobs=2)
    host = rosa.get("/hosts/FORTH").json()
    assert (host["roles"], host["software"], host["open_jobs"]) == (["data", "compute"], "9.1", 2)
    line = {"id": "count", "digest": None, "release": {}, "without_review": [], "secure_sums": False,
            "differential_privacy": None}  # fmt: skip
    assert (host["executors"], host["tools"], host["policy"]) == (["sandbox"], [line], None)
    assert (host["capacity"]["cpus"], host["capacity"]["memory"]) == (4, 8 << 30)
    assert host["datasets"] == ["FORTH:cohort", "FORTH:images"]
    assert (host["active"], host["alive"], host["condition"]) == (True, True, "accepting")
    assert "outgoing" in host["reached_by"]
    assert host["last_heartbeat"]
    assert "127.0.0.1:7000" in rosa.get("/hosts/EUCAIM").json()["reached_by"]


def test_a_silent_host_is_not_alive_and_its_datasets_not_available(lone: Federation) -> None:
    lone.books.beat("UB", at=time.time() - 3600)
    with lone.user() as rosa:
        assert rosa.get("/hosts/UB").json()["alive"] is False
        available = {d["id"]: d["available"] for d in rosa.get("/datasets").json()}
    assert available["UB:cohort"] is False
    assert available["BSC:cohort"] is True


@pytest.mark.parametrize("path", ["/hosts/MARS", "/hosts/ub", "/hosts/%00", "/hosts/UB%2f..", "/hosts/" + "A" * 40])
def test_hosts_that_are_not_there(rosa: httpx.Client, path: str) -> None:
    problem(rosa.get(path), 404)


def test_hosts_are_filtered_counted_and_cut_by_the_server(federation: Federation, rosa: httpx.Client) -> None:
    federation.hear_everyone()
    federation.books.beat("FORTH", condition="holding", condition_text="the disk is \x00 full")
    federation.books.beat("BSC", condition_text="a GPU is hot")

    def listed(**query: Any) -> tuple[list[str], str]:
        answer = rosa.get("/hosts/", params={**query, "count": True})
        return [host["id"] for host in answer.json()], answer.headers["Total-Count"]

    assert listed(limit=2, offset=1) == (["EUCAIM", "FORTH"], "4")
    assert listed(show="accepting") == (["BSC", "EUCAIM", "UB"], "3")
    assert listed(show="well") == (["EUCAIM", "UB"], "2")
    assert listed(show="trouble", limit=1) == (["BSC"], "2")
    assert listed(text="for") == (["FORTH"], "1")
    assert listed(text="%") == ([], "0")
    assert listed(id=["UB", "MARS"]) == (["UB"], "1")
    assert rosa.get("/hosts/?brief=true").json()[0]["datasets"] == []
    assert rosa.get("/hosts/?limit=1").json()[0]["datasets"] == ["BSC:cohort", "BSC:images"]
    problem(rosa.get("/hosts/?show=revoked"), 403)
    federation.hear_everyone()


def test_datasets_are_named_never_by_path(rosa: httpx.Client) -> None:
    datasets = rosa.get("/datasets").json()
    assert [d["id"] for d in datasets] == [
        "BSC:cohort", "BSC:images", "FORTH:cohort", "FORTH:images", "UB:cohort", "UB:images",
    ]  # fmt: skip
    assert datasets[0] == {
        "id": "BSC:cohort", "host": "BSC", "version": "1", "label": "", "description": "cohort of BSC", "files": None,
        "size": None, "catalogue": None, "persons": None, "modality": [], "body_part": [], "available": True,
        "kinds": None, "title": "", "creators": [],
    }  # fmt: skip
    assert {d["host"] for d in rosa.get("/datasets?host=UB").json()} == {"UB"}
    assert rosa.get("/datasets?host=MARS").json() == []


# -- enrolment


def _enrolment(**more: Any) -> dict[str, Any]:
    return {"roles": ["data"], "public_key": public_jwk(ECKey.generate_key("P-256")), **more}


def test_a_host_is_enrolled_changed_and_revoked(lone: Federation) -> None:
    with lone.operator() as olga, lone.user() as rosa:
        one = _enrolment(site="Hospital One", location="Valencia")
        made = olga.put("/hosts/ONE", json=one)
        assert (made.status_code, made.json()["site"], made.json()["alive"]) == (201, "Hospital One", False)
        assert olga.put("/hosts/ONE", json={**one, "location": "Madrid"}).status_code == 200
        assert rosa.get("/hosts/ONE").json()["location"] == "Madrid"
        assert olga.put("/hosts/ONE", json={**one, "active": False}).json()["active"] is False
        assert "ONE" not in [host["id"] for host in rosa.get("/hosts/").json()]
        assert "ONE" in [host["id"] for host in olga.get("/hosts/?all=true").json()]
        kept = olga.get("/audit", params={"target": "ONE"}).json()["items"]
    assert [(entry["action"], entry["outcome"]) for entry in kept] == [
        ("enrol_host", 200), ("enrol_host", 200), ("enrol_host", 201),
    ]  # fmt: skip
    assert "active=False" in kept[0]["detail"]
    assert one["public_key"]["kid"] in kept[0]["detail"]


def test_revoking_is_one_act(lone: Federation) -> None:
    books = lone.books
    with lone.operator() as olga, lone.user() as rosa, lone.host("BSC") as host:
        experiment = lone.start(rosa)["id"]
        books.dispatch()
        problem(rosa.post("/hosts/BSC/revocation", json={"reason": "no"}), 403, "forbidden.role")
        problem(olga.post("/hosts/MARS/revocation", json={"reason": "no"}), 404)
        problem(olga.post("/hosts/BSC/revocation", json={}), 422)
        assert host.post("/hosts/BSC/inventory", json={"epoch": "one", "jobs": []}).status_code == 200
        for _ in range(2):
            assert olga.post("/hosts/BSC/revocation", json={"reason": "key stolen"}).json()["active"] is False
        problem(host.post("/hosts/BSC/inventory", json={"epoch": "one", "jobs": []}), 403, "forbidden.host")
        jobs = {job["host"]: job for job in rosa.get(f"/experiments/{experiment}").json()["jobs"]}
        assert (jobs["BSC"]["state"], jobs["BSC"]["code"]) == ("lost", "host_revoked")
        kept = olga.get("/audit", params={"target": "BSC", "action": "revoke_host"}).json()["items"]
        assert [entry["detail"] for entry in kept if entry["outcome"] == 200] == ["key stolen"] * 2
        assert olga.put("/hosts/BSC", json=books.hosts.enrolment("BSC").model_dump(mode="json")).json()["active"]
        assert host.post("/hosts/BSC/inventory", json={"epoch": "one", "jobs": []}).status_code == 200
    told = [(kind, host) for kind, host in kinds(books.dispatch()) if kind == "Revocation"]
    assert sorted(told) == [("Revocation", host) for host in ("EUCAIM", "EUCAIM", "FORTH", "FORTH", "UB", "UB")]


WRONG_KEYS: list[dict[str, Any]] = [
    {},
    {"kty": "EC"},
    {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
    RSAKey.generate_key(2048).as_dict(private=False),
    ECKey.generate_key("P-384").as_dict(private=False),
    {"kty": "oct", "k": "c2VjcmV0"},
]


@pytest.mark.parametrize("key", WRONG_KEYS, ids=range(len(WRONG_KEYS)))
def test_keys_that_no_host_can_have(federation: Federation, key: dict[str, Any]) -> None:
    with federation.operator() as olga:
        assert "public_key" in problem(olga.put("/hosts/ONE", json=_enrolment(public_key=key)), 422)["detail"]


def test_a_private_key_is_refused_and_kept_nowhere(federation: Federation) -> None:
    private = ECKey.generate_key("P-256").as_dict(private=True)
    with federation.operator() as olga:
        answer = olga.put("/hosts/ONE", json=_enrolment(public_key=private))
        assert "make a new key" in problem(answer, 422, "key.private")["detail"]
        assert private["d"] not in answer.text
        assert private["d"] not in olga.get("/audit").text
        problem(olga.get("/hosts/ONE"), 404)


@pytest.mark.parametrize(
    "change",
    [{"roles": []}, {"roles": ["king"]}, {"address": "no port"}, {"address": "a b:1"}, {"address": "host:0"},
     {"domain": "-x"}, {"domain": "A B"}, {"site": "x\ny"}, {"colour": "red"}, {"active": "perhaps"}],
    ids=str,
)  # fmt: skip
def test_enrolments_of_the_wrong_shape(federation: Federation, change: dict[str, Any]) -> None:
    with federation.operator() as olga:
        problem(olga.put("/hosts/ONE", json=_enrolment(**change)), 422, "invalid_input")


@pytest.mark.parametrize("name", ["one", "1ONE", "O-NE", "A" * 32, "ONE%00"])
def test_host_ids_that_cannot_be(federation: Federation, name: str) -> None:
    with federation.operator() as olga:
        problem(olga.put(f"/hosts/{name}", json=_enrolment()), 404)


def test_one_host_enrolled_by_two_at_once(federation: Federation) -> None:
    with federation.operator() as olga, ThreadPoolExecutor(6) as pool:
        for number in range(5):
            answers = list(pool.map(lambda _, n=number: olga.put(f"/hosts/TWICE{n}", json=_enrolment()), range(6)))
            assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]


# -- health


def test_health_says_what_is_missing(federation: Federation) -> None:
    with federation.operator() as olga:
        answer = olga.get("/hosts/health/")
        health = answer.json()
        assert (answer.status_code, health["status"]) == (503, "degraded")
        assert (health["database"], health["issuer"]) == ("ok", "ok")
        assert "start `fedproc relay`" in health["relay"]
        assert set(health["hosts"]) >= {"UB", "BSC", "FORTH", "EUCAIM"}
        assert olga.get("/hosts/health").status_code == 503


def test_health_with_a_relay(tmp_path: Path) -> None:
    with TestIssuer() as issuer:
        federation = Federation(f"sqlite:///{tmp_path}/central.db", tmp_path, issuer, health_seconds=0)
        with federation, federation.operator() as olga:
            federation.enrol_everyone()
            _relay(federation, "ok")
            federation.books.beat("BSC", condition="holding", condition_text="journal on a full disk")
            federation.books.beat("UB", at=time.time() - 100)
            answer = olga.get("/hosts/health/")
            assert (answer.status_code, answer.json()["status"]) == (200, "ok")
            hosts = answer.json()["hosts"]
            assert hosts["BSC"] == "holding: journal on a full disk"
            assert hosts["UB"].startswith("silent for ")
            assert hosts["FORTH"] == "ok"
            _relay(federation, "connection refused")
            assert olga.get("/hosts/health/").json()["broker"] == "connection refused"
            issuer.stop()
            health = olga.get("/hosts/health/").json()
            assert "does not answer" in health["issuer"]


@pytest.mark.parametrize("token", [None, "rosa", "nonsense"])
def test_health_tells_nobody_but_operators_where_a_hospital_is_weak(lone: Federation, token: str | None) -> None:
    _relay(lone, "connection to broker.inside:5671 refused")
    lone.books.beat("BSC", condition="holding", condition_text="/srv/journal: disk full")
    lone.books.beat("UB", at=time.time() - 100)
    with lone.caller(lone.issuer.token("rosa", "researcher") if token == "rosa" else token) as anyone:
        answer = anyone.get("/hosts/health/")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "degraded",
        "database": "ok",
        "broker": "fails",
        "issuer": "ok",
        "relay": "ok",
        "hosts": {"BSC": "up", "EUCAIM": "up", "FORTH": "up", "UB": "down"},
    }


def test_health_is_kept_for_some_seconds(lone: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    issuer = lone.app.state.fedproc.issuer
    discover = issuer.discover

    async def counted() -> dict[str, Any]:
        asked.append("issuer")
        return await discover()

    monkeypatch.setattr(issuer, "discover", counted)
    with lone.caller(None) as anyone, ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: anyone.get("/hosts/health/"), range(12)))
    assert len(asked) == 1


def _relay(federation: Federation, broker: str) -> None:
    """What a living relay writes of itself every other second."""
    with write_transaction(federation.engine) as connection:
        connection.execute(relays.delete())
        connection.execute(insert(relays).values(id="relay-one", seen=time.time(), broker=broker))


# -- the books of a host against those of the centre


def test_a_hosts_inventory_is_answered(federation: Federation, rosa: httpx.Client) -> None:
    books = federation.books
    books.dispatch()
    known, ended = federation.start(rosa)["id"], federation.start(rosa)["id"]
    books.dispatch()
    mine, over = books.job_on(known, "UB").id, books.job_on(ended, "UB").id
    books.report(mine, "running")
    books.report(over, "failed")
    strange = "j-" + "0" * 26
    listed = [{"job": job, "state": "running", "sequence": 1} for job in (mine, over, strange)]
    with federation.host("UB") as host:
        answer = host.post("/hosts/UB/inventory", json={"epoch": "one", "jobs": listed})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert mine in body["keep"]
        assert set(body["cancel"]) == {over, strange}
        assert mine not in body["resend"]
        problem(host.post("/hosts/BSC/inventory", json={"epoch": "one", "jobs": []}), 403, "forbidden.host")
        problem(host.post("/hosts/UB/inventory", json={"epoch": "one", "jobs": [{"job": "x"}]}), 422)
    problem(rosa.post("/hosts/UB/inventory", json={"epoch": "one", "jobs": []}), 403)


# -- what operators alone may see of hosts


def test_whole_host_checks_are_for_operators(federation: Federation, rosa: httpx.Client) -> None:
    report = HostReport(host="UB", epoch="one", time=now(), report={"verdict": "fit", "disk": {"free_gb": 7}})
    federation.books.take(("UB", federation.books.hosts.seal("UB", report)))
    problem(rosa.get("/hosts/reports"), 403, "forbidden.role")
    with federation.operator() as olga:
        found = {entry["host"]: entry for entry in olga.get("/hosts/reports").json()}
    assert found["UB"]["report"] == {"verdict": "fit", "disk": {"free_gb": 7}}
    assert found["UB"]["time"]
    assert found["BSC"]["report"] is None


def test_what_nobody_could_read_is_for_operators(federation: Federation, rosa: httpx.Client) -> None:
    for number in range(3):
        federation.books.take(("UB", b"no message %d" % number))
    problem(rosa.get("/dead-letters"), 403, "forbidden.role")
    with federation.operator() as olga:
        page = olga.get("/dead-letters", params={"limit": 2}).json()
        rest = olga.get("/dead-letters", params={"limit": 2, "cursor": page["next"]}).json()
    letters = page["items"] + rest["items"]
    assert [(entry["host"], entry["code"]) for entry in letters] == [("UB", "unreadable.signature")] * 3
    assert letters[0]["sha256"] == hashlib.sha256(b"no message 2").hexdigest()
    assert letters[0]["size"] == len(b"no message 2")
    assert letters[0]["reason"]
    assert rest["next"] is None


# -- what a dataset's columns are


def _page(number: int, *names: str, version: str = "1", pages: int = 2) -> dict[str, Any]:
    columns = [{"name": name, "type": "category", "unit": "mm", "values": ["I", "II"]} for name in names]
    return {"dataset": "cohort", "version": version, "page": number, "pages": pages, "columns": columns}


def test_the_columns_of_a_dataset_come_page_by_page_with_heartbeats(lone: Federation) -> None:
    with lone.user() as rosa:
        before = rosa.get("/datasets/UB:cohort").json()
        assert (before["version"], before["columns"], before["complete"]) == ("1", [], True)
        lone.books.beat("UB", columns=_page(1, "c"))
        part = rosa.get("/datasets/UB:cohort").json()
        assert ([column["name"] for column in part["columns"]], part["complete"]) == (["c"], False)
        lone.books.beat("UB", columns=_page(0, "a", "b"))
        lone.books.beat("UB")
        whole = rosa.get("/datasets/UB:cohort").json()
        assert whole["complete"]
        assert [column["name"] for column in whole["columns"]] == ["a", "b", "c"]
        assert whole["columns"][0]["values"] == ["I", "II"]
        assert "columns" not in rosa.get("/hosts/UB").json()
        assert "columns" not in rosa.get("/datasets").json()[0]


def test_what_images_are_comes_with_the_first_page_and_stays_until_it_changes(lone: Federation) -> None:
    with lone.user() as rosa:
        page = {"dataset": "cohort", "version": "1", "page": 0, "pages": 1, "columns": []}
        imaging = {"floor": 10, "persons": 50, "modality": {"persons": {"CT": 50}}}
        lone.books.beat("UB", columns={**page, "imaging": imaging})
        found = rosa.get("/datasets/UB:cohort").json()
        assert (found["imaging"]["persons"], found["imaging"]["modality"]["persons"]) == (50, {"CT": 50})
        assert (found["columns"], found["complete"]) == ([], True)
        lone.books.beat("UB", columns={**page, "imaging": {**imaging, "persons": 60}})
        assert rosa.get("/datasets/UB:cohort").json()["imaging"]["persons"] == 60
        lone.books.beat("UB", columns=page)
        assert rosa.get("/datasets/UB:cohort").json()["imaging"] is None


def test_columns_of_another_version_or_of_a_dataset_that_is_offered_no_more_are_forgotten(lone: Federation) -> None:
    with lone.user() as rosa:
        lone.books.beat("UB", columns=_page(0, "old", pages=1))
        lone.books.beat("UB", columns=_page(0, "new", pages=1, version="2"))
        assert rosa.get("/datasets/UB:cohort").json()["columns"] == []
        lone.books.beat("UB", columns=_page(0, "new", pages=1))
        assert len(rosa.get("/datasets/UB:cohort").json()["columns"]) == 1
        images = {**_page(0, "x", pages=1), "dataset": "images"}
        lone.books.beat("UB", datasets=["images"], columns=images)
        lone.books.beat("UB", datasets=["images", "cohort"])
        assert rosa.get("/datasets/UB:cohort").json()["columns"] == []
        lone.books.beat("UB", columns={**images, "dataset": "none"})
        problem(rosa.get("/datasets/UB:none"), 404)


def test_what_a_host_has_the_centre_keep_of_columns_is_bounded(
    lone: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_columns, "MOST_PAGES", 2)
    with lone.user() as rosa:
        for number in range(4):
            lone.books.beat("UB", columns=_page(number, f"c{number}", pages=4))
        found = rosa.get("/datasets/UB:cohort").json()
        assert ([column["name"] for column in found["columns"]], found["complete"]) == (["c0", "c1"], False)


@pytest.mark.parametrize("path", ["/datasets/MARS:cohort", "/datasets/UB:none"])
def test_datasets_that_are_not_there(rosa: httpx.Client, path: str) -> None:
    assert "fedproc data lists" in problem(rosa.get(path), 404)["detail"]


def test_end_of_a_certificate_that_is_no_moment_is_not_told(lone: Federation) -> None:
    """A release before kept what a host wrote, and one host's report must not hide all the others."""
    late = update(host_rows).where(host_rows.c.id == "UB").values(certificate_expires=253402387139.0)
    with write_transaction(lone.books.engine) as connection:
        connection.execute(late)
    with lone.user() as client:
        for path in ("/hosts/", "/hosts/UB"):
            assert client.get(path).status_code == 200
        assert client.get("/hosts/UB").json()["certificate_expires"] is None
