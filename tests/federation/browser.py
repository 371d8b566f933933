"""A browser as far as signing in needs one: it finds the gateway, keeps cookies, and fills in Keycloak's form."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
import ssl
import urllib.parse
from typing import Any

import httpx
from tests.federation.centre import Centre

from fedproc.demo.containers import DOMAIN, GATEWAY

OPENID = f"https://auth.{DOMAIN}/realms/fedproc/protocol/openid-connect"


class _ToGateway(httpx.HTTPTransport):
    """This machine does not know the federation's names: all of them are the gateway's address."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        there = httpx.Request(
            request.method, request.url.copy_with(host=GATEWAY), headers=request.headers, stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.host},
        )  # fmt: skip
        return super().handle_request(there)


class Browser:
    """One with a jar of cookies of its own; ``http`` takes addresses with the federation's names."""

    def __init__(self, centre: Centre) -> None:
        trusted = ssl.create_default_context(cafile=centre.ca)
        self.http = httpx.Client(transport=_ToGateway(verify=trusted), timeout=60)

    def close(self) -> None:
        self.http.close()

    def get(self, name: str, path: str, token: str = "") -> httpx.Response:
        return self.http.get(f"https://{name}.{DOMAIN}{path}", headers=_bearer(token))

    def post(self, name: str, path: str, token: str, body: dict[str, Any]) -> httpx.Response:
        return self.http.post(f"https://{name}.{DOMAIN}{path}", headers=_bearer(token), json=body)

    def fill_in(self, page: httpx.Response, user: str, password: str) -> str:
        """Send Keycloak's form; where it leads."""
        found = re.search(r'<form[^>]* action="([^"]+)"', page.text)
        assert found, page.text[:1000]
        sent = self.http.post(html.unescape(found[1]), data={"username": user, "password": password})
        assert "location" in sent.headers, (sent.status_code, sent.text[:1000])
        return str(sent.headers["location"])

    def sign_in(self, client: str, back: str, user: str, password: str) -> dict[str, Any]:
        """Authorization code with PKCE, as a page of ``client`` does it; the issuer's answer with the tokens."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "client_id": client, "response_type": "code", "scope": "openid", "redirect_uri": back, "state": "s",
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        led = self.fill_in(self.http.get(f"{OPENID}/auth", params=asked), user, password)
        assert led.startswith(back), led
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(led).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "client_id": client}
        told = self.http.post(f"{OPENID}/token", data={**form, "code_verifier": verifier})
        assert told.status_code == 200, told.text
        return dict(told.json())

    def sign_out(self, client: str, tokens: dict[str, Any]) -> None:
        """End the session at Keycloak (RP-Initiated Logout), which asks nothing of who shows the ID token."""
        answer = self.http.get(f"{OPENID}/logout", params={"client_id": client, "id_token_hint": tokens["id_token"]})
        assert answer.status_code < 400, (answer.status_code, answer.text[:500])


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
