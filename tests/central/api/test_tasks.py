"""Jobs under D6.1's name for them: what their users send, and what they give."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.central_api import Federation, described, problem, send

from fedproc.contract.wire.messages import JobOrder

pytestmark = pytest.mark.server

TABLE = os.urandom(5000)


@pytest.fixture
def waiting(federation: Federation, rosa: httpx.Client) -> Iterator[dict[str, Any]]:
    """A job that wants two uploads, 'weights' and 'mask', and takes a 'note'; afterwards its hosts are free again."""
    federation.books.dispatch()
    made = rosa.post("/experiments", json={"tool": "train", "hosts": ["UB"]})
    assert made.status_code == 201, made.text
    yield next(job for job in made.json()["jobs"] if job["task"] == "client")
    federation.books.dispatch()
    federation.books.bring(made.json()["id"], "failed")


def _put(client: httpx.Client, job: dict[str, Any], name: str, data: Any = TABLE, **headers: str) -> httpx.Response:
    return client.put(f"/tasks/{job['id']}/input", params={"input": name}, content=data, headers=headers)


def test_a_job_stays_queued_until_its_inputs_are_complete(
    federation: Federation, rosa: httpx.Client, waiting: dict[str, Any]
) -> None:
    books = federation.books
    assert waiting["waiting_for"].startswith("2 uploaded input(s)")
    assert books.dispatch() == []
    sent = _put(rosa, waiting, "weights", **{"Content-Type": "application/x-npz; v=1"})
    assert sent.status_code == 200, sent.text
    entry = sent.json()
    assert (entry["state"], entry["size"], entry["media_type"]) == ("complete", 5000, "application/x-npz")
    assert entry["sha256"] == hashlib.sha256(TABLE).hexdigest()
    assert rosa.get(f"/tasks/{waiting['id']}").json()["waiting_for"].startswith("1 uploaded input(s)")
    assert books.dispatch() == []
    assert _put(rosa, waiting, "note", b"optional").status_code == 200
    assert _put(rosa, waiting, "mask", b"mask").status_code == 200
    orders = {order.task: order for _, order in books.dispatch() if isinstance(order, JobOrder)}
    assert set(orders) == {"server", "client"}, "the whole gang goes when the last input is there"
    inputs = {ref.input: ref for ref in orders["client"].inputs}
    assert {name: ref.size for name, ref in inputs.items()} == {"weights": 5000, "mask": 4, "note": 8}
    assert inputs["weights"].sha256 == entry["sha256"]
    job = rosa.get(f"/tasks/{waiting['id']}").json()
    assert (job["state"], job["waiting_for"]) == ("dispatched", None)
    with federation.host("UB") as host, federation.caller(None) as nobody:
        link = host.get(f"/data/file/{inputs['weights'].file}/access/").json()["uri"]
        assert nobody.get(federation.local(link)).content == TABLE
    with federation.host("BSC") as other:
        problem(other.get(f"/data/file/{inputs['weights'].file}/access/"), 403)


def test_until_the_dispatch_an_input_may_be_replaced(
    federation: Federation, rosa: httpx.Client, waiting: dict[str, Any]
) -> None:
    old = _put(rosa, waiting, "weights").json()
    new = _put(rosa, waiting, "weights", b"better").json()
    assert rosa.get(f"/tasks/{waiting['id']}").json()["waiting_for"].startswith("1 uploaded"), "it counts once"
    problem(rosa.get(f"/data/file/{old['id']}"), 404)
    assert rosa.get(f"/data/file/{new['id']}").json()["size"] == 6
    assert not federation.app.state.fedproc.blobs.path(old["id"]).exists()


def test_once_its_order_is_written_nothing_can_be_replaced(
    federation: Federation, rosa: httpx.Client, waiting: dict[str, Any]
) -> None:
    """Neither after the dispatch nor just before, when the order that names the file waits for the relay."""
    weights = _put(rosa, waiting, "weights").json()
    _put(rosa, waiting, "mask")
    problem(_put(rosa, waiting, "weights", b"too late"), 409, "conflict.dispatched")
    orders = [order for _, order in federation.books.dispatch() if isinstance(order, JobOrder) and order.inputs]
    assert weights["id"] in [ref.file for ref in orders[0].inputs]
    problem(_put(rosa, waiting, "weights", b"too late"), 409, "conflict.dispatched")
    assert rosa.get(f"/data/file/{weights['id']}").status_code == 200


@pytest.mark.parametrize("way", ["query", "repr", "content"])
def test_the_sha256_of_an_input_is_checked(rosa: httpx.Client, waiting: dict[str, Any], way: str) -> None:
    def send(data: bytes, announced: bytes) -> httpx.Response:
        digest = hashlib.sha256(announced)
        header = f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
        headers = {"repr": {"Repr-Digest": header}, "content": {"Content-Digest": f"md5=:AAAA:, {header}"}}.get(way, {})
        params = {"input": "mask", **({"sha256": digest.hexdigest()} if way == "query" else {})}
        return rosa.put(f"/tasks/{waiting['id']}/input", params=params, content=data, headers=headers)

    body = problem(send(b"other", TABLE), 422, "file.sha256")
    assert hashlib.sha256(b"other").hexdigest() in body["detail"]
    assert rosa.get(f"/tasks/{waiting['id']}").json()["waiting_for"].startswith("2 uploaded")
    assert send(TABLE, TABLE).status_code == 200


def test_an_input_that_is_too_large(rosa: httpx.Client, waiting: dict[str, Any]) -> None:
    problem(_put(rosa, waiting, "mask", b"0" * 1_000_001), 413, "too_large")
    assert _put(rosa, waiting, "mask", b"0" * 1_000_000).status_code == 200


def test_a_piece_of_an_input_is_not_taken(rosa: httpx.Client, waiting: dict[str, Any]) -> None:
    problem(_put(rosa, waiting, "mask", b"part", **{"Content-Range": "bytes 0-3/8"}), 400)


@pytest.mark.parametrize("name", ["", "nonesuch", "table", "../mask", "x" * 49])
def test_inputs_that_the_task_does_not_take(rosa: httpx.Client, waiting: dict[str, Any], name: str) -> None:
    body = problem(_put(rosa, waiting, name), 422)
    if len(name) < 49:
        assert "weights, mask, note" in body["detail"]


def test_one_must_say_which_of_several(rosa: httpx.Client, waiting: dict[str, Any]) -> None:
    answer = rosa.put(f"/tasks/{waiting['id']}/input", content=b"x")
    assert "?input=NAME" in problem(answer, 422, "input.unknown")["detail"]


def test_a_job_that_takes_no_uploads(federation: Federation, rosa: httpx.Client) -> None:
    job = federation.start(rosa)["jobs"][0]
    assert "takes: none" in problem(_put(rosa, job, ""), 422)["detail"]


def _file(federation: Federation, client: httpx.Client, path: str, data: bytes) -> dict[str, Any]:
    """A file of one's own, uploaded by tus."""
    entry: dict[str, Any] = client.put(f"/data/file/{path}", json=described(data)).json()
    assert send(client, federation.local(entry["upload"]), data).status_code == 204
    return entry


def test_a_file_of_ones_own_becomes_an_input(
    federation: Federation, rosa: httpx.Client, waiting: dict[str, Any]
) -> None:
    path = f"/tasks/{waiting['id']}/input"
    mine = _file(federation, rosa, "weights.npz", TABLE)
    with federation.user("sven") as sven:
        theirs = _file(federation, sven, "mask.bin", b"mask")
        problem(sven.put(path, params={"input": "mask", "file": theirs["id"]}), 404)
    problem(rosa.put(path, params={"input": "mask", "file": theirs["id"]}), 404)
    problem(rosa.put(path, params={"input": "mask", "file": "f-" + "0" * 26}), 404)
    pending = rosa.put("/data/file/half.bin", json=described(b"half")).json()
    problem(rosa.put(path, params={"input": "mask", "file": pending["id"]}), 404)
    sent = rosa.put(path, params={"input": "weights", "file": mine["id"]})
    assert sent.status_code == 200, sent.text
    assert (sent.json()["sha256"], sent.json()["media_type"]) == (mine["sha256"], mine["media_type"])
    assert rosa.get(f"/data/file/{mine['id']}").json()["state"] == "complete", "the file itself stays as it is"
    assert _put(rosa, waiting, "mask", b"mask").status_code == 200
    orders = {order.task: order for _, order in federation.books.dispatch() if isinstance(order, JobOrder)}
    assert {ref.input: ref.size for ref in orders["client"].inputs} == {"weights": len(TABLE), "mask": 4}


def test_nobody_sends_input_for_anothers_job(federation: Federation, waiting: dict[str, Any]) -> None:
    with federation.user("sven") as sven, federation.operator() as olga, federation.host("UB") as host:
        problem(_put(sven, waiting, "mask"), 404)
        problem(_put(olga, waiting, "mask"), 403)
        problem(_put(host, waiting, "mask"), 403)
    with federation.caller(None) as nobody:
        problem(_put(nobody, waiting, "mask"), 401)


def test_a_cancelled_job_takes_no_input(rosa: httpx.Client, waiting: dict[str, Any]) -> None:
    rosa.post(f"/experiments/{waiting['experiment']}/cancel")
    assert "cancelled" in problem(_put(rosa, waiting, "mask"), 409)["detail"]


# -- outputs


@pytest.fixture
def done(federation: Federation, rosa: httpx.Client) -> Any:
    """A job of the tool 'count' that ran on UB and has released nothing yet."""
    federation.books.dispatch()
    experiment = federation.start(rosa)["id"]
    federation.books.dispatch()
    job = federation.books.job_on(experiment, "UB")
    federation.books.report(job.id, "collecting")
    return job


def test_a_job_without_outputs_says_how_it_stands(rosa: httpx.Client, done: Any) -> None:
    assert "it is collecting" in problem(rosa.get(f"/tasks/{done.id}/output"), 404, "not_found.output")["detail"]
    assert rosa.get(f"/tasks/{done.id}/output", headers={"Accept": "application/json"}).json() == []


def test_one_output_comes_as_it_is(federation: Federation, rosa: httpx.Client, done: Any) -> None:
    federation.upload_output(done, "counts", "counts.json", b'{"rows": 9}', media_type="application/json")
    answer = rosa.get(f"/tasks/{done.id}/output")
    assert (answer.json(), answer.headers["content-type"]) == ({"rows": 9}, "application/json")
    assert rosa.get(f"/tasks/{done.id}/output", headers={"Range": "bytes=0-3"}).content == b'{"ro'


def test_several_outputs_come_as_a_zip(federation: Federation, rosa: httpx.Client, done: Any) -> None:
    files = {"counts.json": b"{}", "plots/a.svg": b"<svg/>", "plots/deep/b.svg": TABLE}
    for path, data in files.items():
        federation.upload_output(done, "counts" if path == "counts.json" else "plots", path, data)
    answer = rosa.get(f"/tasks/{done.id}/output")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {"counts/counts.json": b"{}", "plots/plots/a.svg": b"<svg/>", "plots/plots/deep/b.svg": TABLE}
    only = rosa.get(f"/tasks/{done.id}/output", params={"output": "counts"})
    assert only.content == b"{}"
    listed = rosa.get(f"/tasks/{done.id}/output", headers={"Accept": "application/json"}).json()
    assert [entry["path"] for entry in listed] == list(files)
    with federation.operator() as olga:
        acts = olga.get("/audit", params={"actor": "rosa", "action": "get_output", "limit": 3}).json()["items"]
    assert sum(act["target"] == done.id for act in acts) == 2, "who took results out is kept, a look at the list is not"


def test_an_artefact_is_for_its_recipient_alone(federation: Federation, rosa: httpx.Client) -> None:
    """A kit that one job made for another: encrypted to that host, seen by no user, fetched by no other host."""
    books = federation.books
    books.dispatch()
    made = rosa.post("/experiments", json={"tool": "train", "hosts": ["UB", "BSC"]}).json()
    for job in made["jobs"]:
        if job["task"] == "client":
            _put(rosa, job, "weights")
            _put(rosa, job, "mask")
    books.dispatch()
    books.bring(made["id"], "prepared")
    server = books.job_on(made["id"], "EUCAIM")
    books.dispatch()
    books.report(server.id, "running")
    entry = federation.upload_output(server, "kit", "kit.zip", b"sealed for UB", recipient="UB")
    kit = {**{k: entry[k] for k in ("output", "path", "sha256", "size")}, "file": entry["id"], "recipient": "UB"}
    books.report(server.id, "running", ready=True, artefacts=(kit,))
    started = dict(books.dispatch())
    assert [ref.file for ref in started["UB"].artefacts] == [entry["id"]]  # type: ignore[attr-defined]
    assert started["BSC"].artefacts == ()  # type: ignore[attr-defined]
    with federation.host("UB") as host, federation.host("BSC") as other:
        assert host.get(f"/data/file/{entry['id']}/access/").status_code == 200
        problem(other.get(f"/data/file/{entry['id']}/access/"), 403)
    problem(rosa.get(f"/data/file/{entry['id']}/content"), 404)
    assert entry["uri"] not in rosa.get("/data/files/").json()
    assert rosa.get(f"/experiments/{made['id']}/results").json() == []
    problem(rosa.get(f"/tasks/{server.id}/output"), 404)


@pytest.mark.parametrize("sent", [{"files": {"file": ("mask.csv", b"1,2\n")}}, {"data": {"a": "1,2"}}])
def test_form_is_refused_with_the_right_command(rosa: httpx.Client, waiting: dict[str, Any], sent: Any) -> None:
    body = problem(rosa.put(f"/tasks/{waiting['id']}/input", params={"input": "mask"}, **sent), 415, "media_type.form")
    assert f"curl -T FILE -H 'Authorization: Bearer TOKEN' '{rosa.base_url}" in body["detail"]
    assert f"/tasks/{waiting['id']}/input?input=mask'" in body["detail"]
    assert rosa.get(f"/tasks/{waiting['id']}").json()["waiting_for"].startswith("2 uploaded")


def test_media_types_of_an_input_are_kept(federation: Federation, rosa: httpx.Client, waiting: dict[str, Any]) -> None:
    body = problem(_put(rosa, waiting, "note", b"x", **{"Content-Type": "image/png"}), 415, "media_type")
    assert "input note takes text/*, application/pdf, not image/png" in body["detail"]
    png = {**described(b"x"), "media_type": "image/png"}
    entry = rosa.put("/data/file/note.png", json=png).json()
    assert send(rosa, federation.local(entry["upload"]), b"x").status_code == 204
    own = {"input": "note", "file": entry["id"]}
    problem(rosa.put(f"/tasks/{waiting['id']}/input", params=own), 415, "media_type")
    for taken in ("text/plain; charset=utf-8", "Application/PDF", ""):
        headers = {"Content-Type": taken} if taken else {}
        assert _put(rosa, waiting, "note", b"x", **headers).status_code == 200, "what states nothing is taken"
