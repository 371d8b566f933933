"""File entries, their bytes, and who may have them (D6.1, Data Operations)."""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from tests.support.central_api import PUBLIC, TUS, Federation, described, problem, send

from fedproc.central.files import signed_urls

pytestmark = pytest.mark.server

DATA = os.urandom(300_000)


# -- entries


def test_a_file_from_its_entry_to_its_bytes(federation: Federation, rosa: httpx.Client) -> None:
    path = "my data/größe 1.csv"
    made = rosa.put(f"/data/file/{quote(path)}", json={**described(DATA), "media_type": "text/csv"})
    assert made.status_code == 201, made.text
    entry = made.json()
    assert made.headers["location"] == entry["uri"] == f"{PUBLIC}/data/file/{entry['id']}"
    assert (entry["path"], entry["state"], entry["owner"], entry["received"]) == (path, "pending", "rosa", 0)
    assert entry["upload"] == f"{PUBLIC}/uploads/{entry['id']}"
    assert entry["uri"] not in rosa.get("/data/files/").json()
    problem(rosa.get(f"/data/file/{entry['id']}/content"), 409, "conflict.pending")
    assert send(rosa, federation.local(entry["upload"]), DATA).status_code == 204
    entry = rosa.get(f"/data/file/{entry['id']}").json()
    assert (entry["state"], entry["received"], entry["upload"]) == ("complete", len(DATA), None)
    assert (entry["size"], entry["sha256"], entry["media_type"]) == (
        len(DATA),
        hashlib.sha256(DATA).hexdigest(),
        "text/csv",
    )
    assert entry["uri"] in rosa.get("/data/files/").json()
    answer = rosa.get(federation.local(entry["content"]))
    assert answer.content == DATA
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert answer.headers["etag"] == f'"{entry["sha256"]}"'
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_same_entry_again_is_the_same_entry(federation: Federation, rosa: httpx.Client) -> None:
    entry, upload = federation.new_file(rosa, DATA, path="again.bin")
    again = rosa.put("/data/file/again.bin", json=described(DATA))
    assert (again.status_code, again.json()["id"]) == (200, entry["id"])
    send(rosa, upload, DATA[:1000])
    other = rosa.put("/data/file/again.bin", json=described(b"other bytes"))
    assert (other.status_code, other.json()["id"], other.json()["received"]) == (200, entry["id"], 0)
    assert send(rosa, upload, b"other bytes").status_code == 204
    answer = rosa.put("/data/file/again.bin", json=described(DATA))
    assert f"fedproc data delete {entry['id']}" in problem(answer, 409)["detail"]
    assert rosa.put("/data/file/again.bin", json=described(b"other bytes")).json()["state"] == "complete"


def test_one_path_taken_by_two_at_once(federation: Federation, rosa: httpx.Client) -> None:
    with ThreadPoolExecutor(6) as pool:
        for number in range(5):
            path = f"/data/file/race/{number}"
            answers = list(pool.map(lambda _, p=path: rosa.put(p, json=described(DATA)), range(6)))
            assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
            assert len({answer.json()["id"] for answer in answers}) == 1


def test_two_users_have_paths_of_their_own(federation: Federation, rosa: httpx.Client) -> None:
    mine, upload = federation.new_file(rosa, DATA, path="same.bin")
    send(rosa, upload, DATA)
    with federation.user("sven") as sven, federation.operator() as olga:
        his, _ = federation.new_file(sven, b"his", "same.bin")
        assert his["id"] != mine["id"]
        for place in (f"/data/file/{mine['id']}", f"/data/file/{mine['id']}/content"):
            problem(sven.get(place), 404)
        problem(send(sven, upload, b"x", offset=len(DATA)), 404)
        problem(sven.delete(upload, headers=TUS), 404)
        assert mine["uri"] not in sven.get("/data/files/").json()
        assert olga.get(f"/data/file/{mine['id']}").json()["owner"] == "rosa"


@pytest.mark.parametrize("role", ["operator", "admin"])
def test_an_operator_sees_entries_and_never_bytes(
    federation: Federation, rosa: httpx.Client, running: Any, role: str
) -> None:
    federation.upload_output(running, "counts", "counts.json", DATA)
    mine, upload = federation.new_file(rosa, DATA)
    assert send(rosa, upload, DATA).status_code == 204
    with federation.user("olga", "operator", "researcher", role) as olga:
        assert olga.get(f"/tasks/{running.id}").json()["id"] == running.id
        problem(olga.get(f"/tasks/{running.id}/output"), 403, "forbidden.owner")
        problem(olga.get(f"/data/file/{mine['id']}/content"), 404)
        for target in (running.id, mine["id"]):
            kept = olga.get("/audit", params={"target": target, "actor": "olga"}).json()["items"]
            assert len(kept) == 1
            assert kept[0]["outcome"] in {403, 404}
    assert rosa.get(f"/tasks/{running.id}/output").content == DATA


def test_an_empty_file_is_complete_at_once(federation: Federation, rosa: httpx.Client) -> None:
    problem(rosa.put("/data/file/none.bin", json={**described(DATA), "size": 0}), 422, "file.sha256")
    entry, _ = federation.new_file(rosa, b"")
    assert (entry["state"], entry["size"]) == ("complete", 0)
    assert rosa.get(federation.local(entry["content"])).content == b""


HOSTILE = [
    "../etc/passwd", "a/../../b", "./a", "a/./b", "/etc/passwd", "a//b", "a/", "", "a\\b", "a\x00b", "a\nb", "a\x7f",
    "x" * 256, "/".join(["d"] * 200), "a/" + "x" * 129,
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE, ids=ascii)
def test_paths_that_cannot_be(rosa: httpx.Client, path: str) -> None:
    answer = rosa.put("/data/file/" + quote(path, safe=""), json=described(DATA))
    problem(answer, 405 if "\n" in path else 422)


@pytest.mark.parametrize(
    "change",
    [{"size": -1}, {"size": 2**53 + 1}, {"size": "many"}, {"size": None}, {"size": 1.5}, {"sha256": "ABC"},
     {"sha256": "A" * 64}, {"media_type": "text"}, {"media_type": "text/html\r\nX: y"}, {"owner": "sven"}],
    ids=str,
)  # fmt: skip
def test_entries_of_the_wrong_shape(rosa: httpx.Client, change: dict[str, Any]) -> None:
    problem(rosa.put("/data/file/wrong.bin", json={**described(DATA), **change}), 422, "invalid_input")


def test_files_beyond_what_is_taken(federation: Federation, rosa: httpx.Client) -> None:
    answer = rosa.put("/data/file/huge.bin", json={**described(DATA), "size": 2**50})
    assert "10000 MB" in problem(answer, 413)["detail"]


def test_the_list_of_ones_files_comes_in_pages(federation: Federation) -> None:
    with federation.user("pia") as pia:
        made = []
        for _ in range(5):
            entry, upload = federation.new_file(pia, b"x")
            send(pia, upload, b"x")
            made.append(entry["uri"])
        federation.new_file(pia, b"pending")
        assert pia.get("/data/files/").json() == made
        assert pia.get("/data/files").json() == made
        seen, url = [], f"{federation.url}/data/files/?limit=2"
        while url:
            page = pia.get(url)
            seen += page.json()
            url = federation.local(page.links["next"]["url"]) if "next" in page.links else ""
        assert seen == made


@pytest.mark.parametrize(
    ("header", "status", "part"),
    [
        ("bytes=0-99", 206, slice(0, 100)),
        ("bytes=299990-", 206, slice(299_990, None)),
        ("bytes=-10", 206, slice(-10, None)),
        ("bytes=10-400000", 206, slice(10, None)),
        ("bytes=5-2", 200, slice(None)),
        ("bytes=0-1,5-6", 200, slice(None)),
        ("rows=1-2", 200, slice(None)),
        ("bytes=300000-", 416, None),
    ],
)
def test_parts_of_a_file(
    federation: Federation, rosa: httpx.Client, header: str, status: int, part: slice | None
) -> None:
    entry, upload = federation.new_file(rosa, DATA)
    send(rosa, upload, DATA)
    answer = rosa.get(f"/data/file/{entry['id']}/content", headers={"Range": header})
    if part is None:
        problem(answer, 416)
        assert answer.headers["content-range"] == "bytes */300000"
    else:
        assert (answer.status_code, answer.content) == (status, DATA[part])
    changed = {"Range": "bytes=0-9", "If-Range": '"another"'}
    assert rosa.get(f"/data/file/{entry['id']}/content", headers=changed).status_code == 200


# -- who may fetch


def test_only_a_host_that_runs_a_job_with_that_input_may_have_it(
    federation: Federation, rosa: httpx.Client, running: Any
) -> None:
    books = federation.books
    entry = federation.upload_output(running, "counts", "counts.json", DATA)
    access = f"/data/file/{entry['id']}/access/"
    with federation.host("EUCAIM") as aggregator, federation.host("UB") as maker, federation.host("FORTH") as other:
        problem(aggregator.get(access), 403, "forbidden.file")  # its job is still queued
        books.bring(running.experiment, "succeeded", task="local")
        books.dispatch()
        got = aggregator.get(access)
        assert got.status_code == 200, got.text
        assert (got.json()["sha256"], got.json()["size"]) == (entry["sha256"], len(DATA))
        for host in (maker, other):
            problem(host.get(access), 403, "forbidden.file")
        problem(rosa.get(access), 403, "forbidden.role")
        with federation.operator() as olga, federation.caller(None) as nobody:
            problem(olga.get(access), 403, "forbidden.role")
            problem(nobody.get(access), 401)
            assert nobody.get(federation.local(got.json()["uri"])).content == DATA, "the link itself is enough"
            kept = olga.get("/audit", params={"target": entry["id"], "action": "get_access"}).json()["items"]
        assert [(act["actor"], act["outcome"]) for act in kept] == [
            ("host:FORTH", 403), ("host:UB", 403), ("host:EUCAIM", 200), ("host:EUCAIM", 403),
        ]  # fmt: skip
        books.bring(running.experiment, "succeeded", task="total")
        problem(aggregator.get(access), 403, "forbidden.file")


def test_a_link_is_for_one_file_one_host_and_a_short_time(
    federation: Federation, rosa: httpx.Client, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = federation.upload_output(running, "counts", "counts.json", DATA)
    federation.books.bring(running.experiment, "succeeded", task="local")
    federation.books.dispatch()
    mine, upload = federation.new_file(rosa, DATA)
    send(rosa, upload, DATA)
    with federation.host("EUCAIM") as aggregator, federation.caller(None) as nobody:
        link = federation.local(aggregator.get(f"/data/file/{entry['id']}/access/").json()["uri"])
        assert nobody.get(link, headers={"Range": "bytes=0-9"}).content == DATA[:10]
        problem(nobody.get(link.replace(entry["id"], mine["id"])), 403)
        problem(nobody.get(link.replace("host=EUCAIM", "host=UB")), 403)
        problem(nobody.get(link[:-1] + ("0" if link[-1] != "0" else "1")), 403)
        problem(nobody.get(link.replace("expires=", "expires=9")), 403)
        problem(nobody.get(link.partition("&signature")[0]), 401)
        now = time.time()
        monkeypatch.setattr(signed_urls.time, "time", lambda: now + signed_urls.LIFETIME + 1)
        problem(nobody.get(link), 410)


def test_a_revoked_hosts_links_end_with_it(lone: Federation) -> None:
    with lone.user() as rosa:
        experiment = lone.start(rosa)["id"]
    lone.books.dispatch()
    lone.books.bring(experiment, "running", task="local")
    entry = lone.upload_output(lone.books.job_on(experiment, "UB"), "counts", "counts.json", DATA)
    lone.books.bring(experiment, "succeeded", task="local")
    lone.books.dispatch()
    with lone.host("EUCAIM") as aggregator, lone.operator() as olga:
        link = lone.local(aggregator.get(f"/data/file/{entry['id']}/access/").json()["uri"])
        enrolment = lone.books.hosts.enrolment("EUCAIM").model_dump(mode="json")
        olga.put("/hosts/EUCAIM", json={**enrolment, "active": False})
        with lone.caller(None) as nobody:
            problem(nobody.get(link), 403, "forbidden.host")


@pytest.mark.parametrize("name", ["f-" + "0" * 26, "x", "%00", "..%2fx"])
def test_files_that_are_not_there(federation: Federation, rosa: httpx.Client, name: str) -> None:
    problem(rosa.get(f"/data/file/{name}"), 405 if "/" in unquote(name) else 404)
    problem(rosa.get(f"/data/file/{name}/content"), 405 if "/" in unquote(name) else 404)
    with federation.host("UB") as host:
        assert host.get(f"/data/file/{name}/access/").status_code in {403, 404, 405}
