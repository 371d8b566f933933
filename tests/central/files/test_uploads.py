"""Bytes by tus: cut, resumed, wrong, too many; and what hosts send of their jobs."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.central_api import TUS, Federation, described, problem, send

from fedproc.demo.polling import wait_until

pytestmark = pytest.mark.server

DATA = os.urandom(300_000)
LARGE = os.urandom(8 << 20)
ARRIVED = 2 << 20


# -- bytes by tus


def test_what_the_server_speaks(federation: Federation) -> None:
    with federation.caller(None) as anyone:
        answer = anyone.options("/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert set(answer.headers["tus-extension"].split(",")) == {"creation", "checksum", "termination"}
    assert answer.headers["tus-max-size"] == "10000000000"


def test_bytes_in_pieces(federation: Federation, rosa: httpx.Client) -> None:
    entry, upload = federation.new_file(rosa, DATA)
    for start in range(0, len(DATA), 70_000):
        answer = send(rosa, upload, DATA[start : start + 70_000], start)
        assert answer.status_code == 204, answer.text
        assert answer.headers["upload-offset"] == str(min(start + 70_000, len(DATA)))
    assert rosa.get(f"/data/file/{entry['id']}").json()["state"] == "complete"
    problem(send(rosa, upload, b"more", len(DATA)), 409, "conflict.complete")
    told = rosa.head(upload, headers=TUS)
    assert (told.headers["upload-offset"], told.headers["upload-length"]) == ("300000", "300000")


def test_bytes_at_the_wrong_place(federation: Federation, rosa: httpx.Client) -> None:
    _, upload = federation.new_file(rosa, DATA)
    send(rosa, upload, DATA[:100])
    for offset in (0, 99, 101, 300_000):
        answer = send(rosa, upload, b"x", offset)
        problem(answer, 409, "conflict.offset")
        assert answer.headers["upload-offset"] == "100"
    assert rosa.head(upload, headers=TUS).headers["upload-offset"] == "100"


def test_a_cut_connection_keeps_what_came(federation: Federation, rosa: httpx.Client) -> None:
    entry, upload = federation.new_file(rosa, LARGE)
    with _half_sent(federation, rosa, entry):
        pass
    offset = _offset_after_the_cut(rosa, upload)
    assert ARRIVED <= offset <= len(LARGE) // 2
    assert rosa.get(f"/data/file/{entry['id']}").json()["received"] == offset
    assert send(rosa, upload, LARGE[offset:], offset).status_code == 204
    assert rosa.get(f"/data/file/{entry['id']}/content").content == LARGE


def test_while_one_sends_another_waits(federation: Federation, rosa: httpx.Client) -> None:
    entry, upload = federation.new_file(rosa, LARGE)
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
        wait_until(lambda: client.get(f"/data/file/{entry['id']}").json()["received"] >= ARRIVED, 60, "nothing arrives")
        yield connection


def _offset_after_the_cut(client: httpx.Client, upload: str) -> int:
    """What is kept; until the server has noticed the cut, it says that another request holds the file."""
    wait_until(lambda: client.head(upload, headers=TUS).status_code == 200, 60, "the cut is not noticed")
    return int(client.head(upload, headers=TUS).headers["upload-offset"])


def test_the_wrong_bytes_are_dropped_and_may_be_sent_again(federation: Federation, rosa: httpx.Client) -> None:
    entry, upload = federation.new_file(rosa, DATA)
    wrong = bytes(reversed(DATA))
    body = problem(send(rosa, upload, wrong), 422, "file.sha256")
    assert hashlib.sha256(wrong).hexdigest() in body["detail"]
    assert rosa.head(upload, headers=TUS).headers["upload-offset"] == "0"
    send(rosa, upload, DATA[:10])
    problem(send(rosa, upload, wrong[10:], 10), 422, "file.sha256")
    assert send(rosa, upload, DATA).status_code == 204
    assert rosa.get(f"/data/file/{entry['id']}").json()["state"] == "complete"


def test_more_bytes_than_announced_are_not_taken(federation: Federation, rosa: httpx.Client) -> None:
    _, upload = federation.new_file(rosa, DATA)
    problem(send(rosa, upload, DATA + b"1"), 413)
    assert rosa.head(upload, headers=TUS).headers["upload-offset"] == "0"


def test_a_checksum_of_one_piece(federation: Federation, rosa: httpx.Client) -> None:
    _, upload = federation.new_file(rosa, DATA)
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
    _, upload = federation.new_file(rosa, DATA)
    answer = send(rosa, upload, DATA, **headers)
    problem(answer, status)
    if status == 412:
        assert answer.headers["tus-version"] == "1.0.0"


def test_a_file_is_forgotten_when_its_owner_says_so(federation: Federation, rosa: httpx.Client) -> None:
    entry, upload = federation.new_file(rosa, DATA, path="forget.bin")
    send(rosa, upload, DATA)
    assert rosa.delete(upload, headers=TUS).status_code == 204
    for place in (f"/data/file/{entry['id']}", f"/data/file/{entry['id']}/content"):
        problem(rosa.get(place), 404)
    problem(rosa.delete(upload, headers=TUS), 404)
    assert not federation.app.state.fedproc.blobs.path(entry["id"]).exists()
    assert rosa.put("/data/file/forget.bin", json=described(DATA)).status_code == 201


def test_what_came_before_the_api_died_is_there_when_it_lives_again(lone: Federation) -> None:
    with lone.user() as rosa:
        entry, _ = lone.new_file(rosa, DATA)
        send(rosa, f"{lone.url}/uploads/{entry['id']}", DATA[:5000])
        # All bytes are on the disk, but the API was killed before it could say so in the database.
        blob = lone.app.state.fedproc.blobs.path(entry["id"])
        blob.write_bytes(DATA)
    lone.__exit__()
    with lone, lone.user() as rosa:
        told = rosa.head(f"/uploads/{entry['id']}", headers=TUS)
        assert told.headers["upload-offset"] == str(len(DATA))
        assert rosa.get(f"/data/file/{entry['id']}").json()["state"] == "complete"


# -- what hosts send


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


def test_a_result_that_was_changed_on_its_way_ends_its_job(
    federation: Federation, rosa: httpx.Client, running: Any
) -> None:
    """Whoever ends TLS can change a file and what is announced of it, but not the host's signed word."""
    entry = federation.upload_output(running, "counts", "counts.json", b'{"rows": 999}')
    released = described(b'{"rows": 111}')
    output = {"output": "counts", "path": "counts.json", "file": entry["id"], **released}
    federation.books.report(running.id, "succeeded", outputs=(output,))
    job = rosa.get(f"/tasks/{running.id}").json()
    assert (job["state"], job["code"]) == ("error", "system_fault.output_lost")
    assert "changed on its way" in job["reason"]


def test_for_a_job_that_has_ended_nothing_is_taken(federation: Federation, running: Any) -> None:
    federation.books.report(running.id, "failed")
    with federation.host("UB") as host:
        assert "has ended as failed" in problem(host.post("/uploads", json=_announce(running)), 409)["detail"]
