"""Results that are encrypted to their researcher, from the request to the decrypted file; the centre reads nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests.support.central_api import Federation, problem

from fedproc.client.api import Client
from fedproc.client.results import fetch_results
from fedproc.common.errors import FedprocError, UnreadableError
from fedproc.contract.api.base import Token
from fedproc.contract.wire.crypt4gh import MEDIA_TYPE, encrypt_file
from fedproc.contract.wire.messages import JobOrder

pytestmark = pytest.mark.server

OWN = X25519PrivateKey.generate()
KEY = base64.b64encode(OWN.public_key().public_bytes_raw()).decode()
PLAIN = b'{"rows": 40}'


def sealed(folder: Path, key: str = KEY) -> bytes:
    (folder / "plain").write_bytes(PLAIN)
    encrypt_file(folder / "plain", folder / "sealed", key)
    return (folder / "sealed").read_bytes()


def client_of(federation: Federation) -> Client:
    token = Token(access_token=federation.issuer.token("rosa", "researcher"), expires_in=600)
    return Client(federation.url, token=token)


def total_of(federation: Federation, rosa: httpx.Client, content: bytes, plain: str) -> str:
    """An experiment that has ended, whose one result of the aggregator is this."""
    books = federation.books
    made = federation.start(rosa, encrypt_to=KEY)["id"]
    books.dispatch()
    for host in ("UB", "BSC"):
        job = books.job_on(made, host)
        federation.upload_output(job, "counts", "counts.json", b"{}")
        books.report(job.id, "succeeded")
    books.dispatch()
    total = books.job_on(made, "EUCAIM")
    federation.upload_output(total, "total", "total.json", content, plain_sha256=plain, media_type=MEDIA_TYPE)
    books.report(total.id, "succeeded")
    return made


def test_order_carries_the_key_and_a_host_that_does_not_know_it_must_not_run_it(
    federation: Federation, rosa: httpx.Client
) -> None:
    federation.books.dispatch()
    view = federation.start(rosa, encrypt_to=KEY)
    assert view["encrypt_to"] == KEY
    orders = [order for _, order in federation.books.dispatch() if isinstance(order, JobOrder)]
    assert {order.encrypt_to for order in orders} == {KEY}
    federation.start(rosa)
    orders = [order for _, order in federation.books.dispatch() if isinstance(order, JobOrder)]
    assert {order.encrypt_to for order in orders} == {None}


@pytest.mark.parametrize("key", ["", "x", base64.b64encode(bytes(32)).decode(), "B" * 43 + "=\n", 7])
def test_what_is_no_key_starts_nothing(rosa: httpx.Client, key: Any) -> None:
    body = {"tool": "count", "datasets": ["UB:cohort"], "parameters": {"column": "age"}, "encrypt_to": key}
    problem(rosa.post("/experiments", json=body), 422, "invalid_input")


def test_result_is_named_as_encrypted_and_saved_as_such(
    federation: Federation, rosa: httpx.Client, tmp_path: Path
) -> None:
    content, plain = sealed(tmp_path), hashlib.sha256(PLAIN).hexdigest()
    made = total_of(federation, rosa, content, plain)
    found = rosa.get(f"/experiments/{made}/results").json()
    assert [file["plain_sha256"] for file in found] == [None, None, plain]
    answer = rosa.get(federation.local(found[-1]["content"]))
    assert answer.content == content
    assert "total.json.c4gh" in answer.headers["content-disposition"]
    assert PLAIN not in b"".join(
        path.read_bytes() for path in (federation.folder / "files").rglob("*") if path.is_file()
    )


def test_record_and_view_say_what_was_decided_about(federation: Federation, rosa: httpx.Client, tmp_path: Path) -> None:
    content, plain = sealed(tmp_path), hashlib.sha256(PLAIN).hexdigest()
    made = total_of(federation, rosa, content, plain)
    assert rosa.get(f"/experiments/{made}").json()["encrypt_to"] == KEY
    archive = zipfile.ZipFile(io.BytesIO(rosa.get(f"/experiments/{made}/crate").content))
    described = archive.read(f"{made}/data/ro-crate-metadata.json").decode()
    assert plain in described
    assert hashlib.sha256(content).hexdigest() in described


def test_it_is_fetched_and_decrypted_by_the_key_alone(
    federation: Federation, rosa: httpx.Client, tmp_path: Path
) -> None:
    content, plain = sealed(tmp_path), hashlib.sha256(PLAIN).hexdigest()
    made = total_of(federation, rosa, content, plain)
    client = client_of(federation)
    fetch_results(client, made, tmp_path / "to")
    place = tmp_path / "to" / "EUCAIM" / "total.json"
    assert not place.exists()
    assert place.with_name("total.json.c4gh").read_bytes() == content
    with pytest.raises(UnreadableError, match="not encrypted to this key"):
        fetch_results(client, made, tmp_path / "to", X25519PrivateKey.generate().private_bytes_raw())
    assert not place.exists()
    for _ in range(2):
        fetch_results(client, made, tmp_path / "to", OWN.private_bytes_raw())
        assert place.read_bytes() == PLAIN
    report = json.loads((tmp_path / "to" / "report.json").read_bytes())
    assert {file["plain_sha256"] for file in report["files"]} == {None, plain}


def test_other_bytes_than_those_that_were_decided_about_are_told(
    federation: Federation, rosa: httpx.Client, tmp_path: Path
) -> None:
    made = total_of(federation, rosa, sealed(tmp_path), "a" * 64)
    client = client_of(federation)
    with pytest.raises(FedprocError, match="other bytes than its site has decided about"):
        fetch_results(client, made, tmp_path / "to", OWN.private_bytes_raw())
    assert not (tmp_path / "to" / "EUCAIM" / "total.json").exists()
