"""What a Data API answers is not trusted: whatever comes, the job ends with a reason, and waits for nobody."""

from __future__ import annotations

import datetime
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fedproc.common.tasks import StopFlag
from fedproc.contract.data_api import PREFIX, CohortView, DataApiDataset
from fedproc.contract.wire.messages import DatasetUse
from fedproc.site.data.api import DatasetError
from fedproc.site.data.cohort import CohortFile
from fedproc.site.data.merkle import Leaf, version_of
from fedproc.site.data.remote import patience
from fedproc.site.data.remote.data_api_client import DataApiClient
from fedproc.site.data.remote.errors import RemoteError, RemotePassingError
from fedproc.site.data.remote.file_store import Store
from fedproc.site.data.remote.http import RemoteHttp
from fedproc.site.data.remote.site_api import SiteDataApi
from fedproc.site.data.remote.stores import Stores
from fedproc.site.dataset_settings import AccessSettings, DatasetSettings, FetchingSettings

pytestmark = pytest.mark.server

JOB = "j-1"
COHORT = "c-" + "0" * 32
BYTES = b"x" * 300
HASH = hashlib.sha256(BYTES).hexdigest()
LISTED = {"path": "a", "size": 300, "sha256": HASH}


class Site:
    """Offers one dataset of one file, but for what a test has it answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, Any]] = {}
        self.cut: int | None = None
        self.trickle = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                site.asked.append(self.path)
                try:
                    site.answer(self, self.path.partition("?")[0].removeprefix(PREFIX))
                except OSError:
                    """The other side has had enough."""

            do_POST = do_DELETE = do_GET

            def end_headers(self) -> None:
                self.send_header("Connection", "close")  # else the next request may meet the end of this connection
                super().end_headers()

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler, path: str) -> None:
        if path == f"/cohorts/{COHORT}/files/a" and path not in self.answers:
            return self.file(handler)
        status, said = self.answers.get(path) or (200, self.usual(path))
        content = json.dumps(said).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def file(self, handler: BaseHTTPRequestHandler) -> None:
        begin = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(300 - begin))
        handler.end_headers()
        handler.wfile.write(BYTES[begin:][: self.cut])

    def usual(self, path: str) -> Any:
        version = version_of([Leaf(b"a", "file", 300, bytes.fromhex(HASH))])
        cohort = {"id": COHORT, "dataset": "ct", "dataset_version": "v1", "version": version, "files": 1, "size": 300}
        dataset = DataApiDataset(id="ct", version="v1", label="7", floor=1)
        return {
            "/datasets/ct": {"dataset": dataset.model_dump(), "columns": []},
            f"/cohorts/{COHORT}/files": {"files": [LISTED]},
            f"/cohorts/{COHORT}/persons": {"images": ["P1"]},
        }.get(path, cohort)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


def api(site: Site, tmp_path: Path, **fetching: Any) -> SiteDataApi:
    async def no_token(_job: str) -> str | None:
        return None

    fetching = {"attempts": 2, "wait_seconds": 0.01, "timeout_seconds": 5, **fetching}
    given = DatasetSettings.model_validate({"source": "http", "url": site.url, "fetching": fetching})
    return SiteDataApi({"ct": given}, tmp_path / "state", Stores(tmp_path / "fetched"), no_token)


async def given(data: SiteDataApi, version: str | None = None) -> Path:
    return (await data.materialise(DatasetUse(id="ct", version=version), JOB, lambda _: None)).path


async def refused(data: SiteDataApi, version: str | None = None) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        await given(data, version)
    return caught.value


async def test_small_data_api_is_read(site: Site, tmp_path: Path) -> None:
    assert (await given(api(site, tmp_path), "v1") / "a").read_bytes() == BYTES
    assert await given(api(site, tmp_path / "2"), "7")  # as a centre of the release before knows it


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ({"files": [], "next": "a"}, "no further"),
        ({"files": [LISTED], "next": "a"}, "twice"),
        ({"files": [{**LISTED, "size": 400}]}, "listed 400"),
        ({"files": [{**LISTED, "size": 200}]}, "more than the 200 bytes"),
    ],
)
async def test_list_that_cannot_be_is_refused(site: Site, tmp_path: Path, page: Any, said: str) -> None:
    site.answers[f"/cohorts/{COHORT}/files"] = (200, page)
    error = await refused(api(site, tmp_path))
    assert (error.code, said in error.detail["at_host"]) == ("data.unreadable", True), error.detail


async def test_byte_for_each_request_is_no_progress(site: Site, tmp_path: Path) -> None:
    site.cut = 1
    assert (await refused(api(site, tmp_path))).code == "data.unreadable"
    assert sum(path.endswith("/files/a") for path in site.asked) == 2


@pytest.mark.parametrize("other", [{"dataset": "mr"}, {"dataset_version": "v2"}])
async def test_cohort_of_something_else_is_not_taken(site: Site, tmp_path: Path, other: dict[str, str]) -> None:
    site.answers["/datasets/ct/cohorts"] = (201, {**site.usual(""), **other})
    assert (await refused(api(site, tmp_path), "v1")).code == "data.version"
    assert not (tmp_path / "state" / "cohorts").exists()


async def test_persons_of_a_cohort_that_was_forgotten_are_not_nobody(site: Site, tmp_path: Path) -> None:
    data = api(site, tmp_path)
    await given(data)
    site.answers |= {f"/cohorts/{COHORT}{path}": (404, {}) for path in ("", "/persons")}
    with pytest.raises(OSError, match="HTTP 404"):
        await data.persons("ct", "v1", JOB)
    del site.answers[f"/cohorts/{COHORT}"]
    assert not (await data.persons("ct", "v1", JOB)).by


def test_refusal_that_trickles_ends_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler, _path: str) -> None:
        handler.send_response(500)
        handler.send_header("Content-Length", "10000")
        handler.end_headers()
        while not gone.wait(0.02):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    monkeypatch.setattr(site, "answer", trickle)
    threading.Timer(5, gone.set).start()
    begun = time.monotonic()
    with (
        RemoteHttp(site.url, AccessSettings(), FetchingSettings(timeout_seconds=0.2), StopFlag()) as http,
        pytest.raises(RemotePassingError) as caught,
    ):
        http.json("/x")
    gone.set()
    assert (caught.value.status, time.monotonic() - begun < 4) == (500, True)


def test_head_that_trickles_holds_no_thread(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler, _path: str) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Head: ")
        while not gone.wait(0.02):
            handler.wfile.write(b"a")
            handler.wfile.flush()

    monkeypatch.setattr(site, "answer", trickle)
    threading.Timer(5, gone.set).start()
    begun = time.monotonic()
    with (
        RemoteHttp(site.url, AccessSettings(), FetchingSettings(timeout_seconds=0.3), StopFlag()) as http,
        pytest.raises(RemotePassingError, match=r"/x: its answer does not come on within 0\.3 s"),
    ):
        http.json("/x")
    gone.set()
    assert time.monotonic() - begun < 4


async def test_fetching_stops_when_its_hours_are_over(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime.datetime):
        hours = iter((21, 21, 12, 12, 22))

        @classmethod
        def now(cls, tz: Any = None) -> Clock:
            return cls(2026, 1, 1, next(cls.hours, 22), 0)

    monkeypatch.setattr(patience, "datetime", Clock)
    monkeypatch.setattr(patience, "_LOOK_SECONDS", 0.01)
    two = [LISTED, {**LISTED, "path": "b"}]
    version = version_of(Leaf(name, "file", 300, bytes.fromhex(HASH)) for name in (b"a", b"b"))
    site.answers["/datasets/ct/cohorts"] = (201, {**site.usual(""), "version": version, "files": 2, "size": 600})
    site.answers[f"/cohorts/{COHORT}/files"] = (200, {"files": two})
    said = list[str | None]()
    data = api(site, tmp_path, hours="20:00-06:00")
    laid = await data.materialise(DatasetUse(id="ct"), JOB, said.append)
    assert {path.name for path in laid.path.iterdir()} == {"a", "b"}
    assert any(text and "20:00-06:00" in text for text in said)


def test_file_that_comes_again_is_asked_of_the_dataset_it_is_of(site: Site, tmp_path: Path) -> None:
    view, store = CohortView.model_validate(site.usual("")), Store(tmp_path, 10**6)
    file = CohortFile(b"a", 300, 0, 0, bytes.fromhex(HASH))
    with RemoteHttp(site.url, AccessSettings(), FetchingSettings(), StopFlag()) as http:
        for source in ("ct", "ct", "mr"):
            DataApiClient(http).fetch(view, file, store.of(source), 1000)
    assert len(site.asked) == 2


def test_file_that_was_changed_in_the_store_is_not_believed(tmp_path: Path) -> None:
    before = Store(tmp_path, 10**6)
    with before.incoming(1000) as come:
        come.write(BYTES)
        kept = before.take(come)
    assert Store(tmp_path, 10**6).has(kept)
    before.path(kept.sha256).write_bytes(bytes(300))  # as after a power cut
    assert not Store(tmp_path, 10**6).has(kept)


def test_room_of_what_was_refused_is_given_back(tmp_path: Path) -> None:
    store = Store(tmp_path, 100_000)
    for largest in (100, 10**6):
        with pytest.raises(RemoteError), store.incoming(largest) as come:
            for _ in range(20):
                come.write(bytes(10_000))
    with store.incoming(10**6) as come:
        come.write(bytes(90_000))
    assert store.size == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fetching": {"hours": "20:00-20:00"}}, "same time"),
        ({"url": "https://me:secret@pacs.x"}, "has a user in it"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DatasetSettings.model_validate({"source": "http", "url": "https://pacs.x", **settings})
