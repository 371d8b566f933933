"""What is asked goes to the path that was meant, and what answers is the API or is told to be something else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fedproc.client.api import Client
from fedproc.client.transport import at
from fedproc.common.errors import InvalidInputError, UnavailableError
from fedproc.contract.api.base import Token

EXPERIMENT = "e-" + "0" * 26


@pytest.mark.parametrize(
    ("segments", "path"),
    [
        (("uploads", "../experiments/X"), "/uploads/..%2Fexperiments%2FX"),
        (("hosts", "UB?all=true#x"), "/hosts/UB%3Fall%3Dtrue%23x"),
        (("datasets", "UB:cohort"), "/datasets/UB%3Acohort"),
        (("data", "file", "...", "ä"), "/data/file/.../%C3%A4"),
    ],
)
def test_segment_of_a_path_stays_one(segments: tuple[str, ...], path: str) -> None:
    assert at(*segments) == path


@pytest.mark.parametrize("segment", ["", ".", "..", "M\udcfcller"])
def test_segment_that_leads_elsewhere_is_refused(segment: str) -> None:
    with pytest.raises(InvalidInputError, match="give"):
        at("experiments", segment, "cancel")


class _Portal(BaseHTTPRequestHandler):
    """A proxy that wants its users to sign in, and answers whatever they ask by a page."""

    def _page(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        page = b"" if self.command == "HEAD" else b"<html>Please sign in</html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    do_GET = do_POST = do_PUT = do_HEAD = _page

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def portal() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Portal)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


CALLS: dict[str, Callable[[Client], object]] = {
    "tools": lambda client: client.tools(),
    "experiment": lambda client: client.experiment(EXPERIMENT),
    "results": lambda client: client.results(EXPERIMENT),
    "files": lambda client: client.files(),
    "health": lambda client: client.health(),
    "events": lambda client: list(client.events(EXPERIMENT)),
    "bytes": lambda client: client._send_bytes("/uploads/f-1", Path("/etc/hostname")),
}


@pytest.mark.server
@pytest.mark.parametrize("call", CALLS)
def test_page_of_a_proxy_is_told_to_be_no_answer_of_the_api(portal: str, call: str) -> None:
    client = Client(portal, token=Token(access_token="x", expires_in=500))
    with pytest.raises(UnavailableError, match=r"text/html \(HTTP 200\).*FEDPROC_URL.*proxy"):
        CALLS[call](client)
    client.close()


@pytest.mark.server
def test_page_of_a_proxy_is_no_token(portal: str) -> None:
    client = Client(portal, username="rosa", password="x")
    with pytest.raises(UnavailableError, match="no answer of the API"):
        client.sign_in()
    client.close()


@pytest.mark.slow
def test_address_that_is_none_is_told() -> None:
    client = Client("http://[nowhere", token=Token(access_token="x", expires_in=500))
    with pytest.raises(UnavailableError, match="is the address right"):
        client.tools()
    client.close()
