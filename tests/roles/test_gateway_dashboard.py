"""The dashboard behind the gateway: its cookie is for this host over TLS alone, and its stream is not held up."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.central_api import Federation
from tests.support.gateway import Gateway
from tests.support.issuer import TestIssuer
from tests.support.needs import needs

NAME = "api.fedproc.test"

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
@needs("process")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "centre").mkdir()
    with TestIssuer() as issuer:
        public = f"https://{NAME}"
        with Federation(f"sqlite:///{folder}/central.db", folder / "centre", issuer, public_url=public) as federation:
            federation.enrol_everyone()
            with Gateway(folder, federation) as running:
                yield running


class Visitor:
    """A browser that knows the gateway's address under its name; ``cookies`` are by name."""

    def __init__(self, gateway: Gateway) -> None:
        self._url = f"https://127.0.0.1:{gateway.port}"
        self._http = httpx.Client(verify=False, trust_env=False, timeout=30)
        self.cookies: dict[str, str] = {}

    def ask(self, path: str) -> httpx.Request:
        kept = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Host": NAME, "Cookie": kept, "Accept": "text/html"}
        return self._http.build_request("GET", self._url + path, headers=headers, extensions={"sni_hostname": NAME})

    def get(self, path: str) -> httpx.Response:
        answer = self._http.send(self.ask(path))
        self.cookies |= dict(answer.cookies.items())
        return answer

    def sign_in(self) -> httpx.Response:
        begun = self.get("/dashboard/sign-in")
        back = urlsplit(httpx.get(begun.headers["location"], trust_env=False).headers["location"])
        assert back.netloc == NAME
        return self.get(f"{back.path}?{back.query}")

    def first_line(self, path: str) -> str:
        """Of a stream that does not end."""
        answer = self._http.send(self.ask(path), stream=True)
        try:
            return next(line for line in answer.iter_lines() if line and not line.startswith(":"))
        finally:
            answer.close()


def test_the_cookie_is_for_this_very_host_over_tls(gateway: Gateway) -> None:
    signed_in = Visitor(gateway).sign_in()
    cookie = next(line for line in signed_in.headers.get_list("set-cookie") if "__Host-fedproc=" in line)
    assert {"Secure", "HttpOnly", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Domain" not in cookie


def test_pages_and_their_stream_pass(gateway: Gateway) -> None:
    visitor = Visitor(gateway)
    visitor.sign_in()
    home = visitor.get("/dashboard")
    assert "What would you like to do?" in home.text
    assert "max-age" in home.headers["strict-transport-security"]
    with gateway.federation.user() as rosa:
        experiment = gateway.federation.start(rosa)["id"]
    gateway.federation.books.dispatch()
    assert visitor.first_line(f"/dashboard/experiments/{experiment}/live").startswith(("data:", "id:", "event:"))
