"""Who sees the consoles of broker and identity provider."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
import ssl
import urllib.parse
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.federation.centre import Centre
from tests.federation.machines import Machine

from fedproc.demo.containers import DOMAIN, GATEWAY

_CLIENT = "fedproc-broker-console"
_ASK = """import httpx, ssl, sys
trusted = ssl.create_default_context(cafile="/etc/fedproc/ca.crt")
print(httpx.get(sys.argv[1], verify=trusted).status_code)"""
_BACK = f"https://api.{DOMAIN}/broker/js/oidc-oauth/login-callback.html"


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


class Browser:
    """Goes to the federation's names at the gateway's address, keeps cookies, fills in Keycloak's form."""

    def __init__(self, centre: Centre) -> None:
        self._http = httpx.Client(verify=ssl.create_default_context(cafile=centre.ca), timeout=30)

    def get(self, name: str, path: str, token: str = "") -> httpx.Response:
        return self._send("GET", f"https://{name}.{DOMAIN}{path}", headers=_bearer(token))

    def post(self, name: str, path: str, token: str, body: dict[str, Any]) -> httpx.Response:
        return self._send("POST", f"https://{name}.{DOMAIN}{path}", headers=_bearer(token), json=body)

    def sign_in(self, user: str, password: str) -> str:
        """Authorization code with PKCE, as the console does it; the access token."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "client_id": _CLIENT, "response_type": "code", "scope": "openid", "redirect_uri": _BACK, "state": "s",
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        openid = f"https://auth.{DOMAIN}/realms/fedproc/protocol/openid-connect"
        page = self._send("GET", f"{openid}/auth?{urllib.parse.urlencode(asked)}")
        found = re.search(r'<form[^>]* action="([^"]+)"', page.text)
        assert found, page.text[:1000]
        sent = self._send("POST", html.unescape(found[1]), data={"username": user, "password": password})
        back = sent.headers.get("location", "")
        assert back.startswith(_BACK), (sent.status_code, back)
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(back).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": _BACK, "client_id": _CLIENT}
        told = self._send("POST", f"{openid}/token", data={**form, "code_verifier": verifier})
        return str(told.json()["access_token"])

    def close(self) -> None:
        self._http.close()

    def _send(self, method: str, url: str, **given: Any) -> httpx.Response:
        name = urllib.parse.urlsplit(url).hostname or ""
        headers = {**given.pop("headers", {}), "Host": name}
        return self._http.request(
            method, url.replace(name, GATEWAY, 1), headers=headers, extensions={"sni_hostname": name}, **given
        )


@pytest.fixture
def browser(centre: Centre) -> Iterator[Browser]:
    made = Browser(centre)
    yield made
    made.close()


def test_an_operator_sees_the_brokers_queues_but_no_message(centre: Centre, browser: Browser) -> None:
    assert "RabbitMQ" in browser.get("api", "/broker/").text
    token = browser.sign_in(centre.env["FEDPROC_OPERATOR_USERNAME"], centre.env["FEDPROC_OPERATOR_PASSWORD"])
    seen = browser.get("api", "/broker/api/queues", token)
    assert {"jobs.UB", "control.BSC"} <= {queue["name"] for queue in seen.json()}
    assert browser.get("api", "/broker/api/whoami", token).json()["tags"] == ["monitoring"]
    take = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
    assert browser.post("api", "/broker/api/queues/%2F/jobs.UB/get", token, take).status_code == 401


def test_a_researcher_sees_nothing_of_the_broker(centre: Centre, browser: Browser) -> None:
    token = browser.sign_in(centre.env["FEDPROC_USERNAME"], centre.env["FEDPROC_PASSWORD"])
    assert browser.get("api", "/broker/api/queues", token).status_code == 401


@pytest.mark.parametrize("name, path", [("api", "/broker/"), ("auth", "/admin/master/console/")])
def test_a_host_reaches_no_console(browser: Browser, ub: Machine, name: str, path: str) -> None:
    assert browser.get(name, path).status_code == 200
    url = f"https://{name}.{DOMAIN}{path}"
    assert ub.run("/opt/fedproc/current/bin/python", "-c", _ASK, url).strip() == "403"
