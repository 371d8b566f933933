"""Deleting through the API: one's own experiments and files, a person who leaves, and what there is of it all."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import String, cast, or_, select
from tests.support.central_api import TUS, Federation, described, problem, send, streamed

from fedproc.central.db.engine import read_transaction
from fedproc.central.db.schema import metadata
from fedproc.central.files.blobs import Blobs
from fedproc.central.retention.keeper import Keeper
from fedproc.central.retention.storage import Storage

pytestmark = pytest.mark.server

DATA = b"what came of it"


def ended(federation: Federation, client: httpx.Client, sub: str = "rosa") -> tuple[dict[str, Any], dict[str, Any]]:
    """An experiment that has ended, and a result of it."""
    experiment = federation.start(client)
    federation.books.dispatch()
    job = federation.books.job_on(experiment["id"], "UB")
    federation.books.report(job.id, "running")
    result = federation.upload_output(job, "counts", "counts.json", DATA)
    federation.books.bring(experiment["id"], "failed")
    federation.books.dispatch()
    federation.books.bring(experiment["id"], "cancelled")
    assert client.get(f"/experiments/{experiment['id']}").json()["state"] == "failed"
    return experiment, result


def named_anywhere(federation: Federation, text: str) -> list[str]:
    """Columns of the database in which ``text`` stands."""
    found = []
    with read_transaction(federation.engine) as connection:
        for table in metadata.tables.values():
            columns = [column for column in table.columns if column.name != "body"]
            for column in columns:
                query = select(table).where(or_(cast(column, String).like(f"%{text}%"))).limit(1)
                if connection.execute(query).first() is not None:
                    found.append(f"{table.name}.{column.name}")
    return found


def test_ones_own_experiment_is_deleted_with_its_results(federation: Federation, rosa: httpx.Client) -> None:
    experiment, result = ended(federation, rosa)
    path, bytes_of = f"/experiments/{experiment['id']}", Blobs(federation.settings.files).path(result["id"])
    assert bytes_of.read_bytes() == DATA
    with streamed(rosa, f"{path}/events") as events:
        assert next(events)["state"] == "dispatched"
    answer = rosa.delete(path)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"id": experiment["id"], "jobs": 3, "files": 1, "bytes": len(DATA)}
    for gone in (path, f"{path}/results", f"{path}/report", f"{path}/crate", f"{path}/logs", f"{path}/events"):
        problem(rosa.get(gone), 404)
    problem(rosa.delete(path), 404)
    problem(rosa.get(f"/data/file/{result['id']}"), 404)
    problem(rosa.get(f"/data/file/{result['id']}/content"), 404)
    problem(rosa.get(f"/tasks/{experiment['jobs'][0]['id']}"), 404)
    assert not bytes_of.exists()
    with federation.operator() as olga:
        found = olga.get("/audit", params={"action": "delete_experiment", "target": experiment["id"]}).json()["items"]
    (entry,) = found
    assert (entry["actor"], entry["outcome"]) == ("rosa", 200)
    assert entry["detail"].startswith(f"3 jobs, 1 files, {len(DATA)} bytes: j-")


def test_what_a_host_sends_for_a_deleted_job_is_refused_for_good(federation: Federation, rosa: httpx.Client) -> None:
    experiment, _ = ended(federation, rosa)
    job = federation.books.job_on(experiment["id"], "UB")
    assert rosa.delete(f"/experiments/{experiment['id']}").status_code == 200
    with federation.host("UB") as host:
        values = {"job": job.id, "output": "counts", "path": "counts.json", **described(DATA)}
        problem(host.post("/uploads", json=values), 404)
        report = {"epoch": "one", "jobs": [{"job": job.id, "state": "running", "sequence": 9}]}
        answer = host.post("/hosts/UB/inventory", json=report).json()
    assert (answer["keep"], answer["cancel"], answer["resend"]) == ([], [job.id], [])


def test_an_open_experiment_says_to_cancel_it_first(federation: Federation, rosa: httpx.Client) -> None:
    experiment = federation.start(rosa)
    refused = problem(rosa.delete(f"/experiments/{experiment['id']}"), 409, "conflict.open")
    assert "cancel it first" in refused["detail"]
    assert rosa.get(f"/experiments/{experiment['id']}").json()["jobs"]


def test_a_stranger_finds_nothing_and_an_operator_may(federation: Federation, rosa: httpx.Client) -> None:
    experiment, _ = ended(federation, rosa)
    path = f"/experiments/{experiment['id']}"
    with federation.user("eva") as eva, federation.host("UB") as host, federation.caller(None) as nobody:
        assert problem(eva.delete(path), 404)["detail"] == problem(eva.get(path), 404)["detail"]
        problem(host.delete(path), 403)
        problem(nobody.delete(path), 401)
    assert rosa.get(path).status_code == 200
    with federation.user("olga", "operator", "researcher") as olga:
        assert olga.delete(path).status_code == 200
    problem(rosa.get(path), 404)


def test_ones_own_file_is_deleted_and_a_result_is_not(federation: Federation, rosa: httpx.Client) -> None:
    entry, upload = federation.new_file(rosa, DATA)
    assert send(rosa, upload, DATA).status_code == 204
    experiment, result = ended(federation, rosa)
    with federation.user("eva") as eva:
        missed = problem(eva.delete(f"/uploads/{entry['id']}", headers=TUS), 404)
        assert "fedproc data files lists yours" in missed["detail"]
    assert rosa.delete(f"/uploads/{entry['id']}", headers=TUS).status_code == 204
    problem(rosa.get(f"/data/file/{entry['id']}"), 404)
    assert not Blobs(federation.settings.files).path(entry["id"]).exists()
    with federation.host("UB") as host:
        refused = problem(host.delete(f"/uploads/{result['id']}", headers=TUS), 409, "conflict.complete")
    assert f"fedproc experiments delete {experiment['id']}" in refused["detail"]


def test_a_person_is_erased_and_the_audit_has_no_name(federation: Federation) -> None:
    with federation.user("leaver-7f3a") as leaver, federation.user("olga", "operator", "researcher") as olga:
        experiment, result = ended(federation, leaver, "leaver-7f3a")
        federation.new_file(leaver, DATA, "leaver-7f3a/Patient 12.csv")
        still_open = federation.start(leaver)
        with federation.caller(None) as nobody:
            nobody.post("/token", data={"grant_type": "password", "username": "l.eaver-7f3a", "password": "x"})
        body = {"subject": "leaver-7f3a", "usernames": ["l.eaver-7f3a"]}
        problem(leaver.post("/users/erasure", json=body), 403, "forbidden.role")
        erased = olga.post("/users/erasure", json=body).json()
        assert (erased["experiments"], erased["files"], erased["bytes"]) == (1, 2, 2 * len(DATA))
        assert (erased["open"], erased["more"]) == ([still_open["id"]], False)
        problem(olga.get(f"/experiments/{experiment['id']}"), 404)
        problem(olga.get(f"/data/file/{result['id']}"), 404)
        leaver.post(f"/experiments/{still_open['id']}/cancel")
        federation.books.dispatch()
        federation.books.bring(still_open["id"], "cancelled")
        again = olga.post("/users/erasure", json=body).json()
        assert (again["experiments"], again["open"]) == (1, [])
        assert named_anywhere(federation, "eaver-7f3a") == []
        assert named_anywhere(federation, "Patient 12") == []
        acts = olga.get("/audit", params={"actor": erased["pseudonym"]}).json()["items"]
        assert {act["action"] for act in acts} >= {"create_experiment", "put_file"}
        (act,) = olga.get("/audit", params={"action": "erase_user", "target": again["pseudonym"]}).json()["items"]
        assert act["actor"] == "olga"
        assert act["detail"].startswith("1 experiments, ")
        gone = olga.get("/audit", params={"action": "delete_experiment", "target": experiment["id"]}).json()["items"]
        assert [entry["actor"] for entry in gone] == ["olga"]


def test_who_left_nothing_is_nobody(federation: Federation) -> None:
    with federation.operator() as olga:
        problem(olga.post("/users/erasure", json={"subject": "nobody at all"}), 404, "not_found.subject")
        problem(olga.post("/users/erasure", json={"subject": ""}), 422)


@pytest.mark.parametrize("actor", ["retention", "anonymous", "enrolment:UB", "host:UB"])
def test_what_is_no_person_is_not_erased(federation: Federation, actor: str) -> None:
    with federation.operator() as olga:
        refused = problem(olga.post("/users/erasure", json={"subject": actor}), 422, "subject.reserved")
    assert "no person" in refused["detail"]


def test_erasing_one_who_signed_in_as_a_host_is_called_leaves_the_hosts_entries(lone: Federation) -> None:
    with lone.user("ub-leaver") as leaver, lone.operator() as olga, lone.caller(None) as nobody:
        experiment, _ = ended(lone, leaver, "ub-leaver")
        nobody.post("/token", data={"grant_type": "password", "username": "UB", "password": "x"})
        before = olga.get("/audit", params={"target": "UB"}).json()["items"]
        body = {"subject": "ub-leaver", "usernames": ["UB", experiment["id"]]}
        assert olga.post("/users/erasure", json=body).json()["experiments"] == 1
        after = olga.get("/audit", params={"target": "UB"}).json()["items"]
        assert [entry["id"] for entry in after] == [e["id"] for e in before if e["action"] != "get_token"]
        assert len(before) == len(after) + 1
        (gone,) = olga.get("/audit", params={"action": "delete_experiment"}).json()["items"]
        assert gone["target"] == experiment["id"]


def test_an_operator_sees_what_is_kept(lone: Federation) -> None:
    with lone.operator() as olga, lone.user("rosa") as rosa:
        problem(rosa.get("/storage"), 403, "forbidden.role")
        empty = olga.get("/storage").json()
        assert (empty["counted"], empty["kinds"]) == (None, [])
        assert empty["free"] > 0
        ended(lone, rosa)
        storage = Storage(lone.engine, Blobs(lone.settings.files))
        assert list(Keeper(lone.settings.retention, storage).due())
        kinds = {kind["kind"]: kind for kind in olga.get("/storage").json()["kinds"]}
    assert (kinds["experiments"]["rows"], kinds["experiments"]["bytes"], kinds["experiments"]["days"]) == (1, 15, 730)
    assert kinds["database"]["bytes"] > 100_000
    assert kinds["audit"]["rows"] > 0
