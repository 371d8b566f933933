"""What a PACS answers is not trusted: whatever comes, the job ends with a reason, and nothing lies in a wrong place."""

from __future__ import annotations

import asyncio
import json
import resource
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.site.data.dicom_files import image, uid, written

from fedproc.contract.wire.messages import DatasetUse
from fedproc.site.data import reading
from fedproc.site.data.api import DatasetError
from fedproc.site.data.remote import http, series_fetch
from fedproc.site.data.remote.archive import ArchiveDataApi
from fedproc.site.data.remote.stores import Stores
from fedproc.site.dataset_settings import DatasetSettings

pytestmark = pytest.mark.server

STUDY, SERIES, INSTANCE = uid("study"), uid("series"), uid("instance")
PATH = f"/studies/{STUDY}/series/{SERIES}"
Answer = Callable[[BaseHTTPRequestHandler], None]


def value(vr: str, text: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": [text]}


LISTED = {"0020000D": value("UI", STUDY), "0020000E": value("UI", SERIES),
          "00081190": value("UR", "http://127.0.0.1:9/elsewhere")}  # fmt: skip
ELEMENTS = {
    **LISTED, "00080018": value("UI", INSTANCE), "00080016": value("UI", "1.2.840.10008.5.1.4.1.1.2"),
    "00080060": value("CS", "CT"), "00100020": value("LO", "P1"), "00100010": value("PN", {"Alphabetic": "P1"}),
    "00180015": value("CS", "CHEST"), "00080070": value("LO", "ACME"), "00080022": value("DA", "20200131"),
}  # fmt: skip


class Pacs:
    """Answers as a small one does, but for what a test has it answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Answer] = {}
        pacs = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                pacs.asked.append(path)
                answer = pacs.answers.get(path) or pacs.usual(path, self.path)
                try:
                    answer(self)
                except OSError:
                    """The other side has had enough."""

            def end_headers(self) -> None:
                self.send_header("Connection", "close")  # else the next request may meet the end of this connection
                super().end_headers()

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def usual(self, path: str, whole: str) -> Answer:
        if path == "/series":
            return said(json.dumps([LISTED] if "offset=0" in whole else []).encode())
        if path == PATH + "/metadata":
            return said(json.dumps([ELEMENTS]).encode())
        return parts(written(image()))


def said(content: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, text in headers.items():
            handler.send_header(name.replace("_", "-"), text)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def parts(*files: bytes, head: str = "Content-Type: application/dicom") -> Answer:
    body = b"".join(b"--b\r\n" + head.encode() + b"\r\n\r\n" + file + b"\r\n" for file in files)
    return said(body + b"--b--\r\n", Content_Type='multipart/related; type="application/dicom"; boundary=b')


def endless(begin: bytes, more: bytes) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", 'multipart/related; type="application/dicom"; boundary=b')
        handler.end_headers()
        handler.wfile.write(begin)
        while True:
            handler.wfile.write(more)

    return answer


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    made = Pacs()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


def api(pacs: Pacs, tmp_path: Path, **fetching: Any) -> ArchiveDataApi:
    fetching = {"attempts": 2, "wait_seconds": 0.01, "timeout_seconds": 5, **fetching}
    settings = DatasetSettings.model_validate(
        {"source": "dicomweb", "url": pacs.url, "query": {"Modality": "CT"}, "fetching": fetching}
    )
    return ArchiveDataApi({"ct": settings}, tmp_path / "state" / "datasets", Stores(tmp_path / "fetched"))


async def reason(data: ArchiveDataApi) -> str:
    with pytest.raises(DatasetError) as caught:
        await data.materialise(DatasetUse(id="ct"), "j-1", lambda _: None)
    return str(caught.value.detail.get("at_host"))


def names_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


async def test_small_pacs_is_read_and_nothing_else_is_asked(pacs: Pacs, tmp_path: Path) -> None:
    laid = await api(pacs, tmp_path).materialise(DatasetUse(id="ct"), "j-1", lambda _: None)
    assert [path.read_bytes() for path in laid.path.rglob("*.dcm")] == [written(image())]
    assert set(pacs.asked) == {"/series", PATH, PATH + "/metadata"}


async def test_name_that_a_part_states_is_no_name_here(pacs: Pacs, tmp_path: Path) -> None:
    head = 'Content-Disposition: attachment; filename="../../../evil"\r\nContent-Location: /etc/passwd'
    pacs.answers[PATH] = parts(written(image()), head=head)
    await api(pacs, tmp_path).materialise(DatasetUse(id="ct"), "j-1", lambda _: None)
    assert not {"evil", "passwd"} & names_below(tmp_path)


@pytest.mark.parametrize(
    ("answer", "said_of_it"),
    [
        (parts(written(image(SeriesInstanceUID=uid("other")))), "sends a file of another one"),
        (parts(b"no DICOM at all"), "no DICOM file"),
        (parts(written(image())[:140]), "no DICOM file"),
        (parts(written(image(SOPInstanceUID=uid("other")))), "it was asked for"),
        (parts(written(image()), written(image(PatientAge="001Y"))), "two files for one"),
        (said(b"<html>log in</html>", Content_Type="text/html"), "not multipart/related"),
        (said(b"", 302, Location="http://127.0.0.1:9/"), "HTTP 302"),
        (said(b'{"Details": "quota of AE FEDPROC is used up"}', 403), "quota of AE FEDPROC is used up"),
        (said(b"\x1f\x8b", Content_Encoding="gzip"), "compressed"),
        (endless(b"--b\r\n\r\n", bytes(1 << 16)), "more than 1 MB"),
        (endless(b"", b"--b\r\n\r\n" + written(image(SOPInstanceUID=uid("other"))) + b"\r\n"), "more files than"),
        (endless(b"--b\r\nX: ", b"x" * 1000), "line without end"),
    ],
)
async def test_hostile_answer_ends_the_job_with_a_reason(
    pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer, said_of_it: str
) -> None:
    monkeypatch.setattr(series_fetch, "_MORE", 5)
    for path in (PATH, f"{PATH}/instances/{INSTANCE}"):
        pacs.answers[path] = answer
    data = api(pacs, tmp_path, largest_mb=1)
    assert said_of_it in await reason(data)
    assert not list((tmp_path / "fetched" / "incoming").iterdir())
    assert not list((tmp_path / "fetched" / "jobs").rglob("*.dcm"))


@pytest.mark.parametrize(
    ("content", "said_of_it"),
    [
        (b"[" * 100_000, "no list of DICOM JSON"),
        (b'[{"a"}]', "no JSON"),
        (b"{}", "no list of DICOM JSON"),
        (b"[1]", "no list of DICOM JSON"),
        (json.dumps([{**LISTED, "0020000E": value("UI", "../../etc")}]).encode(), "is none, or is not there"),
        (json.dumps([{**LISTED, "0020000D": "x"}]).encode(), "is none, or is not there"),
        (json.dumps([{**LISTED, "0020000E": value("UI", "1" * 65)}]).encode(), "is none, or is not there"),
        (b" " * 200_000, "more than"),
    ],
)
async def test_hostile_list_ends_the_job_with_a_reason(
    pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said_of_it: str
) -> None:
    monkeypatch.setattr(http, "_LARGEST_JSON", 150_000)
    pacs.answers["/series"] = said(content)
    assert said_of_it in await reason(api(pacs, tmp_path))


@pytest.mark.parametrize(
    "elements",
    [
        {**ELEMENTS, "0020000E": value("UI", uid("other"))},
        {**ELEMENTS, "00080018": value("UI", "../evil")},
        {**ELEMENTS, "00080018": {"vr": "UI"}},
        {**ELEMENTS, "zzz": 1, "00100010": value("PN", "P1")},
        {"00080018": 7},
        {},
    ],
)
async def test_odd_description_makes_no_offer(pacs: Pacs, tmp_path: Path, elements: dict[str, Any]) -> None:
    pacs.answers[PATH + "/metadata"] = said(json.dumps([elements]).encode())
    data = api(pacs, tmp_path)
    await data.offers()
    await asyncio.wait([data._looks.of("ct").task])
    assert await data.offers() == ()
    assert "may tell who persons are" in str(data.conditions()[0].problem)


async def test_series_that_the_pacs_cannot_describe_is_told_and_the_others_stay(pacs: Pacs, tmp_path: Path) -> None:
    pacs.answers[PATH + "/metadata"] = said(b'{"Details": "cannot read the file"}', 500)
    data = api(pacs, tmp_path)
    await data.offers()
    await asyncio.wait([data._looks.of("ct").task])
    assert data.conditions()[0].found == {"unreadable_dicom": 1}
    [(path, code, text)] = data._indexer.index("ct").problems()
    assert (path, code) == (f"{STUDY}/{SERIES}", "unreadable_dicom")
    assert "cannot read the file" in text


@pytest.mark.parametrize(
    ("content", "said_of_it"),
    [
        (b"[" + b",".join([b"{}"] * 700_000) + b"]", "more than 20,000"),
        (b'[{"00080018":' + b"[" * 950 + b"]" * 950 + b"}]", "more than is read"),
        (b'[{"00080018":[' + b",".join([b"{}"] * 700_000) + b"]}]", "more than is read"),
        (b'["' + b'\\"' * 700_000, "no list"),
    ],
)
async def test_description_that_would_take_all_memory_is_told_and_the_others_stay(
    pacs: Pacs, tmp_path: Path, content: bytes, said_of_it: str
) -> None:
    pacs.answers[PATH + "/metadata"] = said(content)
    data = api(pacs, tmp_path)
    await data.offers()
    await asyncio.wait([data._looks.of("ct").task])
    [(path, code, text)] = data._indexer.index("ct").problems()
    assert (path, code, said_of_it in text) == (f"{STUDY}/{SERIES}", "unreadable_dicom", True), text


async def test_file_that_would_take_minutes_is_refused_and_takes_nothing_here(
    pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_SECONDS", 3.0)
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 600_000 + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    sequence = struct.pack("<HH", 0x0008, 0x1115) + b"SQ\0\0" + struct.pack("<I", 0xFFFFFFFF) + items
    plain = written(image())
    at = plain.index(struct.pack("<HH", 0x0010, 0x0010))
    pacs.answers[PATH] = pacs.answers[f"{PATH}/instances/{INSTANCE}"] = parts(plain[:at] + sequence + plain[at:])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "no DICOM file, or cannot be read" in await reason(api(pacs, tmp_path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB
    del pacs.answers[PATH]
    assert await api(pacs, tmp_path).materialise(DatasetUse(id="ct"), "j-2", lambda _: None)


async def test_pages_that_are_all_the_same_end(pacs: Pacs, tmp_path: Path) -> None:
    pacs.answers["/series"] = said(json.dumps([LISTED]).encode())
    assert await api(pacs, tmp_path).materialise(DatasetUse(id="ct"), "j-1", lambda _: None)
    assert pacs.asked.count("/series") == 2


async def test_trickle_is_cut(pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/related; boundary=b")
        handler.end_headers()
        while not gone.wait(0.02):
            handler.wfile.write(b"x")
            handler.wfile.flush()

    pacs.answers[PATH] = pacs.answers[f"{PATH}/instances/{INSTANCE}"] = trickle
    assert "bytes in 0.2 s" in await reason(api(pacs, tmp_path, timeout_seconds=0.2))
    gone.set()


async def test_images_do_not_go_through_the_proxy_of_the_environment(
    pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await api(pacs, tmp_path).materialise(DatasetUse(id="ct"), "j-1", lambda _: None)
