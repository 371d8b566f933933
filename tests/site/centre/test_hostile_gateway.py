"""What whoever ends TLS for the API cannot do to a host, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from joserfc.jwk import ECKey
from tests.support.central_api import TOOLS
from tests.support.needs import needs

from fedproc.catalog.bundle import pack
from fedproc.catalog.folder import load_tool
from fedproc.catalog.signing import sign_manifest, verify_manifest
from fedproc.common.errors import SystemFaultError, UnreadableError
from fedproc.common.keys import Signer
from fedproc.contract.tool.tool import ToolRef
from fedproc.contract.wire.messages import FileRef
from fedproc.site.centre.api import Transfer, TransferError
from fedproc.site.centre.identity import Identity
from fedproc.site.tools.cache import ToolCache

pytestmark = pytest.mark.server

TOOL, OTHER = (TOOLS / name for name in ("count", "train"))
FILE = "f-" + "0" * 26
ENDLESS = 64 << 20


class Gateway:
    """Answers as the API would, with whatever it likes: ``says`` is the content of each path."""

    def __init__(self) -> None:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = gateway.says[self.path.partition("?")[0]]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.says: dict[str, bytes] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
@needs("server")
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join(10)
    made.server.server_close()


class TokenGiver:
    async def token(self, fresh: bool = False) -> str:
        return "a token"


@pytest.fixture
async def transfer(gateway: Gateway) -> AsyncIterator[Transfer]:
    async with httpx.AsyncClient(trust_env=False) as http:
        yield Transfer(gateway.url, cast(Identity, TokenGiver()), http)


def ignored(_reason: str | None) -> None:
    """Where a host tells what it waits for."""


# -- inputs


@pytest.mark.parametrize("content", [b"WORSE", b"", b"x" * ENDLESS], ids=["changed", "nothing", "without end"])
async def test_an_input_is_the_one_that_the_signed_order_names(
    gateway: Gateway, transfer: Transfer, tmp_path: Path, content: bytes
) -> None:
    ordered = FileRef(file=FILE, sha256=hashlib.sha256(b"right").hexdigest(), size=5, path="data.csv")
    lie = {"uri": f"{gateway.url}/bytes", "expires": "2100-01-01T00:00:00Z", "size": len(content)}
    access = {**lie, "sha256": hashlib.sha256(content).hexdigest()}
    gateway.says = {f"/data/file/{FILE}/access/": json.dumps(access).encode(), "/bytes": content}
    with pytest.raises(TransferError):
        await asyncio.wait_for(transfer.fetch(ordered, tmp_path / "data.csv", ignored), 60)
    left = await asyncio.to_thread(lambda: {path.name: path.stat().st_size for path in tmp_path.rglob("*")})
    assert sum(left.values()) <= 5
    assert "data.csv" not in left


# -- tools


@pytest.mark.parametrize("lie", ["another catalogue", "another version", "another source", "damaged"])
async def test_a_tool_is_the_one_that_the_catalogue_signed(
    gateway: Gateway, transfer: Transfer, tmp_path: Path, lie: str
) -> None:
    manifest = load_tool(TOOL)
    catalogue, own = (Signer(ECKey.generate_key("P-256")) for _ in range(2))
    packed, right = pack(TOOL, manifest), sign_manifest(manifest, catalogue)
    tool = manifest.tool
    later = sign_manifest(manifest.model_copy(update={"tool": tool.model_copy(update={"version": "9.9.9"})}), catalogue)
    told = {"another catalogue": sign_manifest(manifest, own), "another version": later}.get(lie, right)
    path = f"/tools/{tool.id}"
    sent = {"another source": pack(OTHER, load_tool(OTHER)), "damaged": packed[:20] + b"\xff" * 200}.get(lie, packed)
    gateway.says = {f"{path}/manifest": told.encode(), f"{path}/bundle": sent}
    tool_cache = ToolCache(tmp_path, catalogue.trusted, transfer)
    _, digest = verify_manifest(right, catalogue.trusted)
    ordered = ToolRef(id=tool.id, version=tool.version, digest=digest)
    with pytest.raises((UnreadableError, SystemFaultError)):
        await tool_cache.get(ordered, ignored)
    assert not tool_cache.has(ordered.digest)

    gateway.says = {f"{path}/manifest": right.encode(), f"{path}/bundle": packed}
    assert (await tool_cache.get(ordered, ignored)).digest == ordered.digest
