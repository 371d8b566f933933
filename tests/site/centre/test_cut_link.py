"""Files over a link that is cut again and again, as by a firewall that ends long connections."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from structlog.testing import capture_logs

from fedproc.contract.api.files import NewUpload
from fedproc.contract.wire.messages import FileRef
from fedproc.site.centre import api as api_module
from fedproc.site.centre.api import Transfer

FILE, JOB = "f-" + "0" * 26, "j-" + "0" * 26
BYTES = bytes(range(256)) * 8
CUTS = 16
PIECE = len(BYTES) // CUTS
FACTS = {"sha256": sha256(BYTES).hexdigest(), "size": len(BYTES)}


class Identity:
    async def token(self, fresh: bool = False) -> str:
        return "token"


class CutLink:
    """The API, of whose requests and answers with bytes none comes to its end, but the last."""

    def __init__(self) -> None:
        self.arrived = b""

    async def answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            entry = {
                "id": FILE, "uri": "https://api/f", "path": "a", "state": "pending", "size": len(BYTES),
                "media_type": "text/plain", "owner": "o", "created": "2030-01-01T00:00:00Z", "upload": "https://api/u",
            }  # fmt: skip
            return httpx.Response(200, json=entry)
        if request.url.path.endswith("/access/"):
            return httpx.Response(200, json={"uri": "https://api/bytes", "expires": "2030-01-01T00:00:00Z", **FACTS})
        if request.method == "GET":
            return self._download(request)
        if request.method == "PATCH":
            body = await request.aread()
            self.arrived += body[:PIECE]
            if len(body) > PIECE:
                raise httpx.ReadError("cut")
        return httpx.Response(204, headers={"Upload-Offset": str(len(self.arrived))})

    def _download(self, request: httpx.Request) -> httpx.Response:
        begin = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))

        async def content() -> Any:
            yield BYTES[begin : begin + PIECE]
            if begin + PIECE < len(BYTES):
                raise httpx.ReadError("cut")

        return httpx.Response(206, content=content())


@pytest.fixture
def link() -> CutLink:
    return CutLink()


@pytest.fixture
def transfer(link: CutLink, monkeypatch: pytest.MonkeyPatch) -> Transfer:
    monkeypatch.setattr(api_module, "_FIRST_PAUSE", 0.001)
    http = httpx.AsyncClient(transport=httpx.MockTransport(link.answer))
    return Transfer("https://api", cast(Any, Identity()), http)


def longest_pause(logs: list[Any]) -> float:
    pauses = [entry["pause_seconds"] for entry in logs if entry["event"] == "transfer.waiting"]
    assert len(pauses) == CUTS - 1
    return max(pauses)


async def test_an_upload_that_gets_on_is_not_slowed_by_cuts(link: CutLink, transfer: Transfer, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(BYTES)
    new = NewUpload(job=JOB, output="o", path="a", size=len(BYTES), sha256=sha256(BYTES).hexdigest())
    with capture_logs() as logs:
        assert await transfer.upload(new, source, lambda _: None) == FILE
    assert link.arrived == BYTES
    assert longest_pause(logs) < 0.1


async def test_a_download_that_gets_on_is_not_slowed_by_cuts(transfer: Transfer, tmp_path: Path) -> None:
    target = tmp_path / "target"
    with capture_logs() as logs:
        await transfer.fetch(
            FileRef(file=FILE, path="a", size=len(BYTES), sha256=sha256(BYTES).hexdigest()), target, lambda _: None
        )
    assert target.read_bytes() == BYTES
    assert longest_pause(logs) < 0.1
