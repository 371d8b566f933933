"""Signing in with a browser, while the issuer, or what stands before it, stumbles."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from fedproc.client import session
from fedproc.common.errors import NotAuthenticatedError, UnavailableError

pytestmark = pytest.mark.server

TOKEN = {"access_token": "good", "token_type": "Bearer", "expires_in": 300}
PAGE = "<html>Bad Gateway</html>"
CUT = "cut"
"""the connection ends without an answer"""


class _Issuer:
    """Answers the token endpoint by what ``says`` has, one after the other."""

    def __init__(self) -> None:
        self.says: list[tuple[int, object] | str] = []
        self.asked: dict[str, object] = {
            "device_code": "d", "user_code": "ABCD", "verification_uri": "https://here", "expires_in": 60,
            "interval": 0,
        }  # fmt: skip
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str) -> tuple[int, object] | str:
        if path == "/.well-known/openid-configuration":
            return 200, {"token_endpoint": f"{self.url}/token", "device_authorization_endpoint": f"{self.url}/device"}
        return (200, self.asked) if path == "/device" else self.says.pop(0)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def _reply(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                if isinstance(said := issuer.answer(self.path), str):
                    self.close_connection = True
                    return
                status, body = said
                content = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _reply

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


@pytest.fixture
def issuer() -> Iterator[_Issuer]:
    made = _Issuer()
    threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def sign_in(issuer: _Issuer) -> str:
    return session.device_token(issuer.url, None, lambda *_: None).access_token


@pytest.mark.parametrize(
    "hiccup", [(502, PAGE), (503, {"error": "temporarily_unavailable"}), (200, PAGE), (500, [1]), CUT], ids=str
)
def test_sign_in_by_device_survives_a_hiccup(issuer: _Issuer, hiccup: tuple[int, object] | str) -> None:
    issuer.says = [(400, {"error": "authorization_pending"}), hiccup, hiccup, (200, TOKEN)]
    assert sign_in(issuer) == "good"


def test_sign_in_by_device_ends_when_it_is_refused(issuer: _Issuer) -> None:
    issuer.says = [(400, {"error": "access_denied", "error_description": "rosa said no"}), (200, TOKEN)]
    with pytest.raises(NotAuthenticatedError, match="rosa said no"):
        sign_in(issuer)


def test_issuer_without_device_codes_is_told(issuer: _Issuer) -> None:
    for answer in ({"device_code": "d"}, PAGE):
        issuer.asked = answer  # type: ignore[assignment]
        with pytest.raises(UnavailableError, match="does not offer to sign in by device code"):
            sign_in(issuer)
