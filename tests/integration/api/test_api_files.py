"""File entries, their bytes, and who may have them (D6.1, Data Operations)."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx
import pytest
from tests.integration.api.federation import PUBLIC, TUS, Federation, described, problem, send

from fedproc.central import links
from fedproc.demo.waiting import wait_until

DATA = os.urandom(300_000)
LARGE = os.urandom(8 << 20)
ARRIVED = 2 << 20


@pytest.fixture
def rosa(federation: Federation) -> Iterator[httpx.Client]:
    with federation.user() as client:
        yield client


_numbers = iter(range(10_000))


def _entry(
    federation: Federation, client: httpx.Client, data: bytes = DATA, path: str = ""
) -> tuple[dict[str, Any], str]:
    """A new entry of the caller's, and where its bytes go."""
    made = client.put(f"/data/file/{path or f'set/{next(_numbers)}.bin'}", json=described(data))
    assert made.status_code == 201, made.text
    return made.json(), federation.local(made.json()["upload"] or PUBLIC)


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
    entry, upload = _entry(federation, rosa, path="again.bin")
    again = rosa.put("/data/file/again.bin", json=described(DATA))
    assert (again.status_code, again.json()["id"]) == (200, entry["id"])
    send(rosa, upload, DATA[:1000])
    other = rosa.put("/data/file/again.bin", json=described(b"other bytes"))
    assert (other.status_code, other.json()["id"], other.json()["received"]) == (200, entry["id"], 0)
    assert send(rosa, upload, b"other bytes").status_code == 204
    answer = rosa.put("/data/file/again.bin", json=described(DATA))
    assert f"DELETE /uploads/{entry['id']}" in problem(answer, 409)["detail"]
    assert rosa.put("/data/file/again.bin", json=described(b"other bytes")).json()["state"] == "complete"


def test_one_path_taken_by_two_at_once(federation: Federation, rosa: httpx.Client) -> None:
    with ThreadPoolExecutor(6) as pool:
        for number in range(5):
            path = f"/data/file/race/{number}"
            answers = list(pool.map(lambda _, p=path: rosa.put(p, json=described(DATA)), range(6)))
            assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
            assert len({answer.json()["id"] for answer in answers}) == 1


def test_two_users_have_paths_of_their_own(federation: Federation, rosa: httpx.Client) -> None:
    mine, upload = _entry(federation, rosa, path="same.bin")
    send(rosa, upload, DATA)
    with federation.user("sven") as sven, federation.operator() as olga:
        his, _ = _entry(federation, sven, b"his", "same.bin")
        assert his["id"] != mine["id"]
        for place in (f"/data/file/{mine['id']}", f"/data/file/{mine['id']}/content"):
            problem(sven.get(place), 404)
        problem(send(sven, upload, b"x", offset=len(DATA)), 404)
        problem(sven.delete(upload, headers=TUS), 404)
        assert mine["uri"] not in sven.get("/data/files/").json()
        assert olga.get(f"/data/file/{mine['id']}").json()["owner"] == "rosa"
        assert olga.get(f"/data/file/{mine['id']}/content").content == DATA


def test_an_empty_file_is_complete_at_once(federation: Federation, rosa: httpx.Client) -> None:
    problem(rosa.put("/data/file/none.bin", json={**described(DATA), "size": 0}), 422, "file.sha256")
    entry, _ = _entry(federation, rosa, b"")
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
            entry, upload = _entry(federation, pia, b"x")
            send(pia, upload, b"x")
            made.append(entry["uri"])
        _entry(federation, pia, b"pending")
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
    entry, upload = _entry(federation, rosa)
    send(rosa, upload, DATA)
    answer = rosa.get(f"/data/file/{entry['id']}/content", headers={"Range": header})
    if part is None:
        problem(answer, 416)
        assert answer.headers["content-range"] == "bytes */300000"
    else:
        assert (answer.status_code, answer.content) == (status, DATA[part])
    changed = {"Range": "bytes=0-9", "If-Range": '"another"'}
    assert rosa.get(f"/data/file/{entry['id']}/content", headers=changed).status_code == 200


# -- bytes by tus


def test_what_the_server_speaks(federation: Federation) -> None:
    with federation.caller(None) as anyone:
        answer = anyone.options("/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert set(answer.headers["tus-extension"].split(",")) == {"creation", "checksum", "termination"}
    assert answer.headers["tus-max-size"] == "10000000000"


def test_bytes_in_pieces(federation: Federation, rosa: httpx.Client) -> None:
    entry, upload = _entry(federation, rosa)
    for start in range(0, len(DATA), 70_000):
        answer = send(rosa, upload, DATA[start : start + 70_000], start)
        assert answer.status_code == 204, answer.text
        assert answer.headers["upload-offset"] == str(min(start + 70_000, len(DATA)))
    assert rosa.get(f"/data/file/{entry['id']}").json()["state"] == "complete"
    problem(send(rosa, upload, b"more", len(DATA)), 409, "conflict.complete")
    told = rosa.head(upload, headers=TUS)
    assert (told.headers["upload-offset"], told.headers["upload-length"]) == ("300000", "300000")


def test_bytes_at_the_wrong_place(federation: Federation, rosa: httpx.Client) -> None:
    _, upload = _entry(federation, rosa)
    send(rosa, upload, DATA[:100])
    for offset in (0, 99, 101, 300_000):
        answer = send(rosa, upload, b"x", offset)
        problem(answer, 409, "conflict.offset")
        assert answer.headers["upload-offset"] == "100"
    assert rosa.head(upload, headers=TUS).headers["upload-offset"] == "100"


def test_a_cut_connection_keeps_what_came(federation: Federation, rosa: httpx.Client) -> None:
    entry, upload = _entry(federation, rosa, LARGE)
    with _half_sent(federation, rosa, entry):
        pass
    offset = _offset_after_the_cut(rosa, upload)
    assert ARRIVED <= offset <= len(LARGE) // 2
    assert rosa.get(f"/data/file/{entry['id']}").json()["received"] == offset
    assert send(rosa, upload, LARGE[offset:], offset).status_code == 204
    assert rosa.get(f"/data/file/{entry['id']}/content").content == LARGE


def test_while_one_sends_another_waits(federation: Federation, rosa: httpx.Client) -> None:
    entry, upload = _entry(federation, rosa, LARGE)
    with _half_sent(federation, rosa, entry) as connection:
        second = send(rosa, upload, b"x")
        problem(second, 423, "locked")
        assert "retry-after" in second.headers
        connection.sendall(LARGE[len(LARGE) // 2 :])
        assert connection.recv(100).startswith(b"HTTP/1.1 204")
    assert rosa.get(f"/data/file/{entry['id']}").json()["state"] == "complete"


@contextmanager
def _half_sent(federation: Federation, client: httpx.Client, entry: dict[str, Any]) -> Iterator[socket.socket]:
    """A connection over which half of LARGE was sent and begins to arrive; at the end it is cut."""
    address = urlsplit(federation.url)
    lines = [f"PATCH /uploads/{entry['id']} HTTP/1.1", f"Host: {address.netloc}", f"Content-Length: {len(LARGE)}",
             f"Authorization: {client.headers['authorization']}", "Tus-Resumable: 1.0.0", "Upload-Offset: 0",
             "Content-Type: application/offset+octet-stream"]  # fmt: skip
    with socket.create_connection(("127.0.0.1", address.port or 0), timeout=20) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + LARGE[: len(LARGE) // 2])
        wait_until(lambda: client.get(f"/data/file/{entry['id']}").json()["received"] >= ARRIVED, 20, "nothing arrives")
        yield connection


def _offset_after_the_cut(client: httpx.Client, upload: str) -> int:
    """What is kept; until the server has noticed the cut, it says that another request holds the file."""
    wait_until(lambda: client.head(upload, headers=TUS).status_code == 200, 20, "the cut is not noticed")
    return int(client.head(upload, headers=TUS).headers["upload-offset"])


def test_the_wrong_bytes_are_dropped_and_may_be_sent_again(federation: Federation, rosa: httpx.Client) -> None:
    entry, upload = _entry(federation, rosa)
    wrong = bytes(reversed(DATA))
    body = problem(send(rosa, upload, wrong), 422, "file.sha256")
    assert hashlib.sha256(wrong).hexdigest() in body["detail"]
    assert rosa.head(upload, headers=TUS).headers["upload-offset"] == "0"
    send(rosa, upload, DATA[:10])
    problem(send(rosa, upload, wrong[10:], 10), 422, "file.sha256")
    assert send(rosa, upload, DATA).status_code == 204
    assert rosa.get(f"/data/file/{entry['id']}").json()["state"] == "complete"


def test_more_bytes_than_announced_are_not_taken(federation: Federation, rosa: httpx.Client) -> None:
    _, upload = _entry(federation, rosa)
    problem(send(rosa, upload, DATA + b"1"), 413)
    assert rosa.head(upload, headers=TUS).headers["upload-offset"] == "0"


def test_a_checksum_of_one_piece(federation: Federation, rosa: httpx.Client) -> None:
    _, upload = _entry(federation, rosa)
    right = base64.b64encode(hashlib.sha256(DATA[:1000]).digest()).decode()
    answer = send(rosa, upload, DATA[:999] + bytes([DATA[999] ^ 1]), **{"Upload-Checksum": f"sha256 {right}"})
    assert (answer.status_code, problem(answer, 460)["title"]) == (460, "Checksum Mismatch")
    assert rosa.head(upload, headers=TUS).headers["upload-offset"] == "0"
    assert send(rosa, upload, DATA[:1000], **{"Upload-Checksum": f"sha256 {right}"}).status_code == 204
    for header in (f"md5 {right}", "sha256", "sha256 ???", "sha256 AAAA"):
        problem(send(rosa, upload, b"x", 1000, **{"Upload-Checksum": header}), 400)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Content-Type": "application/json"}, 415),
        ({"Upload-Offset": "-1"}, 400),
        ({"Upload-Offset": "x"}, 400),
        ({"Upload-Offset": "9" * 30}, 400),
    ],
)
def test_headers_that_tus_does_not_know(
    federation: Federation, rosa: httpx.Client, headers: dict[str, str], status: int
) -> None:
    _, upload = _entry(federation, rosa)
    answer = send(rosa, upload, DATA, **headers)
    problem(answer, status)
    if status == 412:
        assert answer.headers["tus-version"] == "1.0.0"


def test_a_file_is_forgotten_when_its_owner_says_so(federation: Federation, rosa: httpx.Client) -> None:
    entry, upload = _entry(federation, rosa, path="forget.bin")
    send(rosa, upload, DATA)
    assert rosa.delete(upload, headers=TUS).status_code == 204
    for place in (f"/data/file/{entry['id']}", f"/data/file/{entry['id']}/content"):
        problem(rosa.get(place), 404)
    problem(rosa.delete(upload, headers=TUS), 404)
    assert not federation.app.state.centre.blobs.path(entry["id"]).exists()
    assert rosa.put("/data/file/forget.bin", json=described(DATA)).status_code == 201


def test_what_came_before_the_api_died_is_there_when_it_lives_again(lone: Federation) -> None:
    with lone.user() as rosa:
        entry, _ = _entry(lone, rosa)
        send(rosa, f"{lone.url}/uploads/{entry['id']}", DATA[:5000])
        # All bytes are on the disk, but the API was killed before it could say so in the database.
        blob = lone.app.state.centre.blobs.path(entry["id"])
        blob.write_bytes(DATA)
    lone.__exit__()
    with lone, lone.user() as rosa:
        told = rosa.head(f"/uploads/{entry['id']}", headers=TUS)
        assert told.headers["upload-offset"] == str(len(DATA))
        assert rosa.get(f"/data/file/{entry['id']}").json()["state"] == "complete"


# -- what hosts send


@pytest.fixture
def running(federation: Federation, rosa: httpx.Client) -> Any:
    """A job of the tool 'count' that runs on UB."""
    federation.books.dispatch()
    experiment = federation.start(rosa)["id"]
    federation.books.dispatch()
    job = federation.books.job_on(experiment, "UB")
    federation.books.report(job.id, "running")
    return federation.books.job(job.id)


def _announce(job: Any, data: bytes = DATA, /, **change: Any) -> dict[str, Any]:
    return {"job": job.id, "output": "counts", "path": "counts.json", **described(data), **change}


def test_a_host_sends_an_output_of_its_job(federation: Federation, rosa: httpx.Client, running: Any) -> None:
    with federation.host("UB") as host:
        made = host.post("/uploads", json=_announce(running))
        assert made.status_code == 201, made.text
        upload = federation.local(made.headers["location"])
        assert (made.headers["upload-offset"], made.json()["disclosure"]) == ("0", "aggregate")
        send(host, upload, DATA[:100])
        again = host.post("/uploads", json=_announce(running))
        assert (again.status_code, again.headers["location"]) == (200, made.headers["location"])
        assert again.headers["upload-offset"] == "100", "after a restart the host goes on from here"
        assert rosa.get(f"/experiments/{running.experiment}/results").json() == []
        assert send(host, upload, DATA[100:], 100).status_code == 204
        done = host.post("/uploads", json=_announce(running))
        assert (done.status_code, done.json()["state"]) == (200, "complete")
        problem(host.post("/uploads", json=_announce(running, b"other")), 409)
        problem(host.delete(upload, headers=TUS), 409, "conflict.complete")
    (result,) = rosa.get(f"/experiments/{running.experiment}/results").json()
    assert (result["host"], result["owner"], result["sha256"]) == ("UB", "rosa", described(DATA)["sha256"])
    assert rosa.get(federation.local(result["content"])).content == DATA
    problem(rosa.delete(f"/uploads/{result['id']}", headers=TUS), 404)


def test_the_same_in_the_headers_of_tus(federation: Federation, running: Any) -> None:
    values = {"job": running.id, "output": "plots", "path": "plots/ä.svg", "sha256": described(DATA)["sha256"]}
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())
    headers = {**TUS, "Upload-Length": str(len(DATA)), "Upload-Metadata": metadata}
    with federation.host("UB") as host:
        made = host.post("/uploads", headers=headers)
        assert (made.status_code, made.json()["path"]) == (201, "plots/ä.svg")
        problem(host.post("/uploads", headers={**headers, "Upload-Length": "x"}), 400)
        problem(host.post("/uploads", headers={**headers, "Upload-Metadata": "job !!!"}), 400)
        problem(host.post("/uploads", headers={**headers, "Upload-Metadata": ""}), 422)
        problem(host.post("/uploads", headers={"Upload-Length": "1"}), 412)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"output": "nonesuch"}, 422, "output.unknown"),
        ({"path": "other.json"}, 422, "output.path"),
        ({"output": "plots", "path": "plots"}, 422, "output.path"),
        ({"output": "plots", "path": "plotsx/a.svg"}, 422, "output.path"),
        ({"output": "plots", "path": "plots/../../a"}, 422, "invalid_input"),
        ({"path": "/counts.json"}, 422, "invalid_input"),
        ({"recipient": "BSC"}, 422, "output.recipient"),
        ({"size": 1_000_001}, 413, "too_large"),
        ({"size": -1}, 422, "invalid_input"),
        ({"sha256": "x"}, 422, "invalid_input"),
        ({"job": "j-" + "0" * 26}, 404, "not_found"),
        ({"job": "../j"}, 422, "invalid_input"),
    ],
    ids=str,
)
def test_outputs_that_the_tool_does_not_declare(
    federation: Federation, running: Any, change: dict[str, Any], status: int, code: str
) -> None:
    with federation.host("UB") as host:
        problem(host.post("/uploads", json=_announce(running, **change)), status, code)


def test_all_files_of_an_output_together_are_bounded(federation: Federation, running: Any) -> None:
    def announce(number: int, size: int) -> httpx.Response:
        return host.post("/uploads", json=_announce(running, output="plots", path=f"plots/{number}.svg", size=size))

    with federation.host("UB") as host:
        assert [announce(number, 300_000).status_code for number in range(3)] == [201] * 3
        assert "in all" in problem(announce(3, 200_000), 413)["detail"]
        assert announce(0, 400_000).status_code == 200, "announced again it counts once"
        assert announce(3, 1).status_code == 413
        assert announce(3, 0).status_code == 422, "these are not the bytes of an empty file"


def test_another_hosts_job_is_not_sent_for(federation: Federation, running: Any) -> None:
    with federation.host("BSC") as other, federation.host("UB") as host:
        problem(other.post("/uploads", json=_announce(running)), 403, "forbidden.job")
        made = host.post("/uploads", json=_announce(running))
        problem(send(other, federation.local(made.headers["location"]), DATA), 404)


def test_for_a_job_that_has_ended_nothing_is_taken(federation: Federation, running: Any) -> None:
    federation.books.report(running.id, "failed")
    with federation.host("UB") as host:
        assert "has ended as failed" in problem(host.post("/uploads", json=_announce(running)), 409)["detail"]


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
    mine, upload = _entry(federation, rosa)
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
        monkeypatch.setattr(links.time, "time", lambda: now + links.LIFETIME + 1)
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
