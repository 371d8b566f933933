"""Whatever issuer and API answer, a host waits or gives up by an error of ours; its daemon goes on."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from tests.support.anything import BYTES, TEXTS, as_json, bent
from tests.support.examples import examples

from fedproc.common.errors import FedprocError
from fedproc.contract.api.files import NewUpload
from fedproc.contract.api.hosts import OpenJobsReport
from fedproc.contract.wire.messages import FileRef
from fedproc.site.centre import api as api_module
from fedproc.site.centre.api import Transfer
from fedproc.site.centre.identity import Identity

FILE = "f-" + "0" * 26
ISSUER = {"token_endpoint": "https://issuer/token"}
ANSWERS: dict[str, Any] = {
    "POST /uploads": {
        "id": FILE,
        "path": "a",
        "size": 3,
        "sha256": "0" * 64,
        "state": "open",
        "upload": "https://api/u",
    },
    "ACCESS": {"uri": "https://api/bytes", "expires": "2030-01-01T00:00:00Z"},
    "INVENTORY": {"cancel": ["j-" + "0" * 26], "resend": []},
    "TOOLS": [
        {"id": "km", "version": "1", "digest": "x", "name": "x", "description": "", "mode": "federated", "href": "x"}
    ],
}
SECONDS = 5


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "host.key"
    path.write_bytes(ECKey.generate_key("P-256").as_pem(private=True))
    return path


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(api_module, "_LONGEST_PAUSE", 0.001)


def identity_of(key: Path, answer: Any) -> tuple[Identity, httpx.AsyncClient]:
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    settings: Any = SimpleNamespace(host="UB", key=key, centre=SimpleNamespace(issuer_url="https://issuer"))
    return Identity(settings, http), http


def token_of(claims: bytes) -> str:
    return f"h.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.s"


CLAIMS = st.one_of(BYTES, bent({"iat": 1.7e9}).map(as_json)).map(token_of)
GRANTS = st.one_of(
    BYTES,
    bent({"access_token": "a.b.c", "expires_in": 60}).map(as_json),
    CLAIMS.map(lambda token: as_json({"access_token": token, "expires_in": 60})),
)


@pytest.mark.slow
@examples(150)
@given(discovery=st.one_of(st.just(as_json(ISSUER)), BYTES, bent(ISSUER).map(as_json)), grant=GRANTS)
def test_any_answer_of_the_issuer_is_a_token_or_waited_for(key: Path, discovery: bytes, grant: bytes) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=discovery if request.method == "GET" else grant)

    async def ask() -> None:
        identity, http = identity_of(key, answer)
        async with http:
            try:
                token = await identity.token()
            except FedprocError as error:
                error.message.encode(errors="backslashreplace")
            else:
                httpx.Headers({"Authorization": f"Bearer {token}"})
                assert identity.seconds_left() >= 0
                identity.clock.now()

    asyncio.run(ask())


ANY = st.tuples(
    st.sampled_from([200, 201, 204, 206, 301, 404, 416, 503]),
    st.one_of(
        BYTES,
        *(bent(value).map(as_json) for value in ANSWERS.values()),
        *(st.just(as_json(v)) for v in ANSWERS.values()),
    ),
    st.dictionaries(
        st.sampled_from(["Upload-Offset", "Location", "Content-Encoding", "Content-Type"]),
        st.one_of(
            st.sampled_from(["0", "3", "-1", "nan", "9" * 30, "gzip", "http://["]), TEXTS.filter(str.isprintable)
        ),
        max_size=2,
    ),
)


@pytest.mark.slow
@examples(100)
@given(answers=st.lists(ANY, min_size=1, max_size=6))
def test_any_answer_of_the_api_ends_in_an_error_of_ours(
    key: Path, tmp_path_factory: pytest.TempPathFactory, answers: list[Any]
) -> None:
    folder, left = tmp_path_factory.mktemp("files"), list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "issuer":
            found = ISSUER if request.method == "GET" else {"access_token": "a.b.c", "expires_in": 60}
            return httpx.Response(200, json=found)
        status, content, headers = left.pop(0) if left else (404, b"", {})
        sent = {name: value.encode(errors="replace") for name, value in headers.items()}
        return httpx.Response(status, content=content, headers=sent)

    async def talk() -> None:
        identity, http = identity_of(key, answer)
        (folder / "a").write_bytes(b"abc")
        new = NewUpload(job="j-" + "0" * 26, output="a", path="a", size=3, sha256="0" * 64)
        async with http:
            transfer = Transfer("https://api", identity, http)
            for act in (
                lambda: transfer.upload(new, folder / "a", lambda _: None),
                lambda: transfer.fetch(
                    FileRef(file=FILE, sha256="0" * 64, size=3, path="x"), folder / "x", lambda _: None
                ),
                lambda: transfer.report_open_jobs("UB", OpenJobsReport(epoch="one", jobs=[])),
                lambda: transfer.tools(lambda _: None),
            ):
                try:
                    async with asyncio.timeout(SECONDS):
                        await act()
                except FedprocError as error:
                    json.dumps(error.message)

    asyncio.run(talk())
