"""A running central API for tests: settings, server, hosts, tools, and callers of every kind.

The relay and the hosts are not there: what they would do to the database is done by ``books``, through the same
functions.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from joserfc.jwk import ECKey
from sqlalchemy import Engine
from tests.support.books import HOSTS, Books, settings_in
from tests.support.issuer import TestIssuer

from fedproc.catalog.bundle import pack
from fedproc.catalog.folder import load_tool
from fedproc.catalog.signing import sign_manifest
from fedproc.central.db import migrate
from fedproc.central.db.engine import connect
from fedproc.common.keys import Signer
from fedproc.demo.keys import KeyPair

TOOLS = Path(__file__).parent / "tools"
TUS = {"Tus-Resumable": "1.0.0"}
PUBLIC = "http://centre.test"


_numbers = iter(range(1_000_000))


class Federation:
    """Started on entry, ended on exit; everything it writes is in ``folder``."""

    def __init__(self, database: str, folder: Path, issuer: TestIssuer, /, port: int = 0, **settings: Any) -> None:
        self.folder = folder
        self._port = port
        self.issuer = issuer
        self.catalogue_key = ECKey.generate_key("P-256")
        (folder / "catalogue.pem").write_bytes(self.catalogue_key.as_pem(private=False))
        own = {"issuer": {"url": issuer.url}, "catalogue_keys": [folder / "catalogue.pem"], "public_url": PUBLIC}
        self.settings, key = settings_in(folder, database, **{**own, **settings})
        self.engine: Engine = connect(database)
        self.books = Books(self.engine, self.settings, key)
        self.url = ""
        self.tls: KeyPair | None = None
        self._heard = 0.0

    def __enter__(self) -> Federation:
        from fedproc.central.api.app import create_app  # takes half a second: for those only who start one

        migrate.migrate(self.engine)
        self.app = create_app(self.settings)
        self.books.changed = lambda: self.app.state.fedproc.notifier.publish("events")
        config = uvicorn.Config(
            self.app,
            host="127.0.0.1",
            port=self._port,
            log_config=None,
            access_log=False,
            lifespan="on",
            ssl_keyfile=self.tls.private if self.tls else None,
            ssl_certfile=self.tls.certificate if self.tls else None,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        assert self._server.ready.wait(60), "the API did not start"
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"https://localhost:{port}" if self.tls else f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.app.state.fedproc.streams.end()
        self._server.should_exit = True
        self._thread.join(60)
        self.engine.dispose()
        assert not self._thread.is_alive(), "the API did not end"

    # -- who calls

    def caller(self, token: str | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def user(self, sub: str = "rosa", *roles: str) -> httpx.Client:
        return self.caller(self.issuer.token(sub, *(roles or ("researcher",))))

    def operator(self) -> httpx.Client:
        return self.user("olga", "operator")

    def host(self, host: str) -> httpx.Client:
        return self.caller(self.issuer.token(f"host-{host}", fedproc_host=host))

    # -- what is there

    def enrol_everyone(self) -> None:
        """Four hosts that were just heard of, and two tools."""
        with self.operator() as client:
            for host in HOSTS:
                enrolment = self.books.hosts.enrolment(host).model_dump(mode="json")
                assert client.put(f"/hosts/{host}", json=enrolment).status_code == 201
            self.hear_everyone()
            for name in ("count", "train"):
                assert self.add_tool(TOOLS / name, client).status_code == 201

    def hear_everyone(self) -> None:
        for host in HOSTS:
            self.books.beat(host)
        self._heard = time.monotonic()

    def hear_everyone_again(self) -> None:
        """Where tests take so long that the hosts would count as silent."""
        if time.monotonic() - self._heard > 20:
            self.hear_everyone()

    def add_tool(self, folder: Path, client: httpx.Client) -> httpx.Response:
        manifest = load_tool(folder)
        bundle = io.BytesIO(pack(folder, manifest))
        signed = sign_manifest(manifest, Signer(self.catalogue_key))
        return client.post("/tools", data={"manifest": signed}, files={"bundle": ("bundle.tar.gz", bundle)})

    def start(self, client: httpx.Client, **request: Any) -> dict[str, Any]:
        """An experiment as its user starts it."""
        made = client.post("/experiments", json={**COUNT, **request})
        assert made.status_code == 201, made.text
        view: dict[str, Any] = made.json()
        return view

    def local(self, uri: str) -> str:
        """The same address at the port where the API listens here."""
        public = self.settings.public_url
        assert uri.startswith(public), uri
        return self.url + uri.removeprefix(public)

    def new_file(self, client: httpx.Client, data: bytes, path: str = "") -> tuple[dict[str, Any], str]:
        """A new entry of the caller's for these bytes, and where they go."""
        made = client.put(f"/data/file/{path or f'set/{next(_numbers)}.bin'}", json=described(data))
        assert made.status_code == 201, made.text
        return made.json(), self.local(made.json()["upload"] or PUBLIC)

    def upload_output(self, job: Any, output: str, path: str, data: bytes, **more: Any) -> dict[str, Any]:
        """As the job's host does with a released output: announce it, send its bytes; the complete entry."""
        values = {"job": job.id, "output": output, "path": path, **described(data), **more}
        with self.host(job.host) as host:
            made = host.post("/uploads", json=values)
            assert made.status_code == 201, made.text
            if data:
                sent = send(host, self.local(made.headers["location"]), data)
                assert sent.status_code == 204, sent.text
        view: dict[str, Any] = made.json()
        return view


COUNT = {"tool": "count", "datasets": ["UB:cohort", "BSC:cohort"], "parameters": {"column": "age"}}


def described(data: bytes) -> dict[str, Any]:
    """What is announced of bytes before they are sent."""
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def send(
    client: httpx.Client, url: str, data: bytes | Iterator[bytes], offset: int = 0, **headers: str
) -> httpx.Response:
    """One PATCH of tus with these bytes at this offset."""
    own = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset), **headers}
    return client.patch(url, content=data, headers=own)


def problem(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The problem document of an answer, after a look that it is one (RFC 9457)."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert len(body["detail"]) > 10
    if code is not None:
        assert body["code"] == code, body
    return body


@contextmanager
def streamed(client: httpx.Client, path: str, **headers: str) -> Iterator[Iterator[dict[str, Any]]]:
    """The events of a server-sent stream as they come; each also carries the ``sse`` id it was sent under."""
    with client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield {**json.loads(fields["data"]), "sse": fields.get("id")}
            fields = {}


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()
