"""The tracing service is told of what was used, whatever becomes of it or of us; its stand-in is a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from sqlalchemy import select
from tests.support.books import Books
from tests.support.sample_tools import task, tool

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import traces as store
from fedproc.central.db.schema import audit, files, traces
from fedproc.central.settings import TracingSettings
from fedproc.central.tracing.sender import TraceSender
from fedproc.common.errors import UnavailableError
from fedproc.contract.times import now
from fedproc.contract.wire.messages import Output

pytestmark = pytest.mark.needs_database

READS = tool(
    "reads",
    task(
        "local",
        inputs=[{"name": "data", "kind": "dataset"}],
        outputs=[{"name": "counts", "path": "counts.json", "disclosure": "aggregate"}],
    ),
)
FIELDS = {"userAction", "userId", "datasetsIds", "toolName", "toolVersion"}


class Tracing:
    """Issuer and service in one. ``status``, ``raw`` and ``takes`` hold for its answers to traces."""

    def __init__(self, known: frozenset[str] = frozenset(FIELDS)) -> None:
        self.status, self.raw, self.takes = 200, b'{"id": "4bd0"}', 0.0
        self.token, self.known = "first", known
        self.token_answer: bytes | None = None
        """of the issuer, if not a good one"""
        self.drips = 0.0
        """seconds between two pieces of an answer, its head among them"""
        self.got: list[tuple[str, str, dict[str, Any]]] = []
        """path, idempotency key and body of each that it took"""
        self.asked, self.arrived = 0, threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Tracing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/token" and service.token_answer is not None:
                    return self._answer(200, service.token_answer)
                if self.path == "/token":
                    form = parse_qs(content.decode())
                    good = (form["client_id"], form["client_secret"]) == (["fedproc"], ["secret"])
                    token = {"access_token": service.token, "expires_in": 600}
                    return self._answer(200 if good else 401, json.dumps(token if good else {}).encode())
                service.asked += 1
                service.arrived.set()
                time.sleep(service.takes)
                if self.headers["authorization"] != f"Bearer {service.token}":
                    return self._answer(401, b"{}")
                body = json.loads(content)
                if not body.keys() <= service.known:
                    return self._answer(422, json.dumps({"detail": body}).encode())
                if service.status < 300:
                    service.got.append((self.path, self.headers["idempotency-key"], body))
                return self._answer(service.status, service.raw)

            def _answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                if not service.drips or self.path == "/token":
                    self.end_headers()
                    self.wfile.write(content)
                    return
                for piece in (b"X-Waiting: yes\r\n",) * 8 + (b"\r\n",) + (content[:1], content[1:]):
                    self.wfile.write(b"".join(getattr(self, "_headers_buffer", [])) + piece)
                    self._headers_buffer: list[bytes] = []
                    time.sleep(service.drips)

            def log_message(self, *_: object) -> None: ...

        return Handler


@pytest.fixture
def service() -> Iterator[Tracing]:
    with Tracing() as running:
        yield running


def settings(service: Tracing, folder: Path, **more: Any) -> TracingSettings:
    secret = folder / "tracing.secret"
    secret.write_text("secret\n")
    own = {
        "url": service.url,
        "token_url": f"{service.url}/token",
        "client_id": "fedproc",
        "client_secret_file": secret,
    }
    return TracingSettings.model_validate({**own, "seconds": 0.5, **more})


@pytest.fixture
def traced(books: Books, tmp_path: Path, service: Tracing) -> Books:
    books.add_tool(READS)
    books.settings = books.settings.model_copy(update={"tracing": settings(service, tmp_path)})
    return books


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sender(traced: Books, clock: Clock) -> TraceSender:
    assert traced.settings.tracing is not None
    return TraceSender(traced.engine, traced.settings.tracing, clock)


def use(books: Books, tool: str = "reads", **more: Any) -> str:
    """An experiment whose jobs run."""
    made = books.submit(tool=tool, datasets=["UB:cohort", "BSC:cohort"], **more)
    books.dispatch()
    for job in books.jobs(made):
        if job.task == "local":
            books.report(job.id, "running", times={"running": now()})
    return made


def kept(books: Books) -> list[Any]:
    with read_transaction(books.engine) as connection:
        return list(connection.execute(select(traces).order_by(traces.c.id)))


def test_each_job_that_ran_is_told_once_with_who_what_and_which_data(
    traced: Books, sender: TraceSender, service: Tracing
) -> None:
    made = use(traced)
    for job in traced.jobs(made):
        if job.task == "local":
            traced.report(job.id, "running", times={"running": now()}, waiting_for="again")
    assert sender.send_some() == 2
    assert [body for _, _, body in service.got] == [
        {"userAction": "USE_DATASETS", "userId": "rosa", "datasetsIds": [f"{host}:cohort"], "toolName": "reads",
         "toolVersion": traced.experiment(made).version}
        for host in ("UB", "BSC")
    ]  # fmt: skip
    assert {path for path, _, _ in service.got} == {"/api/v2/traces/"}
    assert sender.send_some() == 0
    with read_transaction(traced.engine) as connection:
        entries = connection.execute(select(audit).where(audit.c.actor == "tracing")).all()
        assert [(entry.action, entry.target) for entry in entries] == [("trace_delivered", made)] * 2
        assert store.counts(connection) == (0, None, 2, 0)


def test_without_a_setting_nothing_is_written(books: Books) -> None:
    books.add_tool(READS)
    use(books)
    assert kept(books) == []


def test_job_that_never_ran_used_nothing(traced: Books) -> None:
    made = traced.submit(tool="reads", datasets=["UB:cohort"])
    traced.dispatch()
    traced.report(traced.job_on(made, "UB").id, "refused", code="policy.tool_unknown", times={"refused": now()})
    assert kept(traced) == []


def _gives(service: Tracing, token: dict[str, Any]) -> None:
    service.token_answer = json.dumps(token).encode()


def _fails(service: Tracing, status: int, raw: bytes = b"{}") -> None:
    service.status, service.raw = status, raw


FAULTS: dict[str, Callable[[Tracing], None]] = {
    "500": lambda service: _fails(service, 500),
    "503 with a page": lambda service: _fails(service, 503, b"<html>"),
    "429": lambda service: _fails(service, 429),
    "redirect": lambda service: _fails(service, 302),
    "page in its place": lambda service: _fails(service, 200, b"<html>welcome to the hotel</html>"),
    "no id": lambda service: _fails(service, 200, b'{"ok": true}'),
    "list": lambda service: _fails(service, 200, b"[1]"),
    "odd bytes": lambda service: _fails(service, 200, b"\xff\x00"),
    "endless": lambda service: _fails(service, 200, b"x" * 200_000),
    "slow": lambda service: setattr(service, "takes", 1.5),
    "dripping": lambda service: setattr(service, "drips", 0.15),
    "nested": lambda service: _fails(service, 201, b"[" * 60_000),
    "404": lambda service: _fails(service, 404, b'{"message": "no Route matched with those values"}'),
    "405": lambda service: _fails(service, 405),
    "413": lambda service: _fails(service, 413, b'{"detail": "too large"}'),
    "421": lambda service: _fails(service, 421),
    "400 of a gateway": lambda service: _fails(service, 400, b"<html>plain HTTP was sent to an HTTPS port</html>"),
    "422 of something else": lambda service: _fails(service, 422, b"[" * 60_000),
    "nested token": lambda service: setattr(service, "token_answer", b"[" * 60_000),
    "token that is no text": lambda service: _gives(service, {"access_token": {"a": 1}}),
    "token of other letters": lambda service: _gives(service, {"access_token": "\u00e9\u4e2d"}),
    "token of two lines": lambda service: _gives(service, {"access_token": "a\r\nX: b"}),
    "endless token": lambda service: _gives(service, {"access_token": "first", "expires_in": int("9" * 400)}),
    "token for no time": lambda service: _gives(service, {"access_token": "first", "expires_in": float("nan")}),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_the_service_loses_nothing_and_the_key_stays(
    traced: Books, sender: TraceSender, service: Tracing, clock: Clock, fault: str
) -> None:
    use(traced)
    FAULTS[fault](service)
    with pytest.raises(UnavailableError):
        sender.send_some()
    waiting = kept(traced)
    assert [(row.sent, row.refused) for row in waiting] == [(None, None)] * 2
    assert waiting[0].attempts == 1
    service.got.clear()
    service.status, service.raw, service.takes = 200, b'{"id": "4bd0"}', 0.0
    service.token_answer, service.drips = None, 0.0
    clock.ahead = 60
    assert sender.send_some() == 2
    assert [key for _, key, _ in service.got] == [row.key for row in waiting]


def test_service_that_is_away_is_asked_again(traced: Books, tmp_path: Path, clock: Clock) -> None:
    use(traced)
    with Tracing() as gone:
        own = settings(gone, tmp_path)
    away = TraceSender(traced.engine, own, clock)
    with pytest.raises(UnavailableError, match="does not answer"):
        away.send_some()
    assert len(kept(traced)) == 2


def test_409_counts_as_delivered_and_a_refused_one_is_not_tried_again(
    traced: Books, sender: TraceSender, service: Tracing, clock: Clock
) -> None:
    use(traced)
    service.status = 409
    assert sender.send_some() == 2
    assert all(row.sent for row in kept(traced))
    service.status, service.known = 200, frozenset()
    made = use(traced)
    assert sender.send_some() == 2
    clock.ahead = 10**6
    assert sender.send_some() == 0
    with read_transaction(traced.engine) as connection:
        assert store.counts(connection) == (0, None, 2, 2)
        entry = connection.execute(select(audit).where(audit.c.action == "trace_refused")).first()
    assert entry is not None
    assert entry.target == made
    assert "422" in entry.detail
    assert "rosa" not in entry.detail, "the service says back what it was sent, and an erasure leaves the audit's words"
    assert all("rosa" not in (row.reason or "") for row in kept(traced))


class NoDatabase:
    """In the place of an engine: whatever is asked of it fails in a way that nobody foresaw."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


def test_fault_that_nobody_foresaw_does_not_end_the_sender(service: Tracing, tmp_path: Path) -> None:
    sender: Any = TraceSender(NoDatabase(), settings(service, tmp_path))  # type: ignore[arg-type]

    async def runs_on() -> None:
        async with asyncio.timeout(0.3):
            await sender.run()

    with pytest.raises(TimeoutError):
        asyncio.run(runs_on())


def test_one_trace_at_which_it_always_fails_does_not_hold_up_the_others(
    traced: Books, sender: TraceSender, service: Tracing
) -> None:
    use(traced)
    service.status = 500
    with pytest.raises(UnavailableError):
        sender.send_some()
    service.status = 200
    assert sender.send_some() == 1
    assert [row.sent is None for row in kept(traced)] == [True, False]


def test_token_that_counts_no_more_is_renewed_and_a_lost_secret_waits(
    traced: Books, sender: TraceSender, service: Tracing, clock: Clock, tmp_path: Path
) -> None:
    use(traced)
    sender.send_some()
    service.token = "second"
    use(traced)
    with pytest.raises(UnavailableError, match="401"):
        sender.send_some()
    clock.ahead = 60
    assert sender.send_some() == 2
    (tmp_path / "tracing.secret").unlink()
    fresh = TraceSender(traced.engine, settings(service, tmp_path), clock)
    (tmp_path / "tracing.secret").unlink()
    use(traced)
    with pytest.raises(UnavailableError, match="client_secret_file"):
        fresh.send_some()


def test_v1_has_its_own_path_and_no_answer(traced: Books, service: Tracing, tmp_path: Path, clock: Clock) -> None:
    use(traced)
    service.status, service.raw = 204, b""
    assert TraceSender(traced.engine, settings(service, tmp_path, api="v1"), clock).send_some() == 2
    assert {path for path, _, _ in service.got} == {"/api/v1/traces"}


@pytest.mark.parametrize("extended", [False, True])
def test_released_results_are_told_where_the_service_has_a_word_for_them(
    traced: Books, service: Tracing, tmp_path: Path, clock: Clock, extended: bool
) -> None:
    made = use(traced, granted=traced.granted("UB:cohort", project="breast"))
    job = traced.job_on(made, "UB")
    file = "f-01jdj3k4m5n6p7q8r9s0t1v2u3"
    row = {"id": file, "owner": "rosa", "path": "counts.json", "state": "complete", "size": 2, "sha256": "a" * 64,
           "media_type": "application/json", "experiment": made, "job": job.id, "host": "UB", "task": "local",
           "output": "counts", "created": 0.0}  # fmt: skip
    with write_transaction(traced.engine) as connection:
        connection.execute(files.insert().values(**row))
    output = Output(output="counts", path="counts.json", file=file, sha256="a" * 64, size=2)
    traced.report(job.id, "succeeded", outputs=(output,), times={"running": now(), "succeeded": now()})
    more = {"experiment", "host", "project", "projectToldBy", "toolDigest", "datasetsVersions", "results"}
    service.known = frozenset(FIELDS | more) if extended else frozenset(FIELDS)
    assert TraceSender(traced.engine, settings(service, tmp_path, extended=extended), clock).send_some() == 3
    told = [body for _, _, body in service.got if body["userAction"] == "RELEASE_RESULTS"]
    if not extended:
        assert told == []
        return
    assert told[0]["results"] == [{"output": "counts", "sha256": "a" * 64, "size": 2}]
    assert (told[0]["experiment"], told[0]["project"], told[0]["projectToldBy"]) == (made, "breast", "eucaim")


def test_erasing_a_person_takes_the_traces(traced: Books) -> None:
    use(traced)
    with write_transaction(traced.engine) as connection:
        assert store.erase(connection, "rosa") == 2
    assert kept(traced) == []


KILLED = """
import sys
from pathlib import Path
from fedproc.central.db.engine import connect
from fedproc.central.settings import TracingSettings
from fedproc.central.tracing.sender import TraceSender
TraceSender(connect(sys.argv[1]), TracingSettings.model_validate_json(sys.argv[2])).send_some()
"""


@pytest.mark.process
@pytest.mark.slow
def test_relay_killed_while_it_sends_loses_nothing(
    traced: Books, sender: TraceSender, service: Tracing, tmp_path: Path, clock: Clock
) -> None:
    use(traced)
    service.takes = 20.0
    own = settings(service, tmp_path, seconds=60).model_dump_json()
    url = traced.engine.url.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", KILLED, url, own]) as process:
        assert service.arrived.wait(60)
        os.kill(process.pid, signal.SIGKILL)
    first = [row.key for row in kept(traced)]
    service.takes = 0.0
    assert sender.send_some() == 0, "the claim of the one that died still counts"
    clock.ahead = 3600
    assert sender.send_some() == 2
    assert {key for _, key, _ in service.got} == set(first)
