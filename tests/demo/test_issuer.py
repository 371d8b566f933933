"""The demo's issuer signs a browser in by a code, which is good once, for one dashboard, and with its verifier."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from joserfc.jwk import RSAKey
from werkzeug.security import generate_password_hash

from fedproc.demo.issuer.app import create_app
from fedproc.demo.issuer.model import CODE_GRANT, Client, IssuerSettings, User

BACK = "http://127.0.0.1:8000/dashboard/sign-in/back"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
ASKED = {
    "client_id": "fedproc-dashboard", "response_type": "code", "scope": "openid", "redirect_uri": BACK, "state": "mine",
    "code_challenge": CHALLENGE, "code_challenge_method": "S256",
}  # fmt: skip
ROSA = {"username": "rosa", "password": "correct horse"}


@pytest.fixture
def browser(tmp_path: Path) -> FlaskClient:
    key = tmp_path / "issuer.pem"
    key.write_bytes(RSAKey.generate_key(2048).as_pem(private=True))
    settings = IssuerSettings(
        url="http://127.0.0.1:9000",
        port=9000,
        key=key,
        users=(User(name="rosa", password_hash=generate_password_hash("correct horse"), roles=("researcher",)),),
        clients=(
            Client(client_id="fedproc-dashboard", grants=(CODE_GRANT, "refresh_token"), redirect_uris=(BACK,)),
            Client(client_id="another", grants=(CODE_GRANT,), redirect_uris=(BACK,)),
        ),
    )
    return create_app(settings).test_client()


def code_of(browser: FlaskClient, asked: dict[str, str] = ASKED) -> str:
    answer = browser.post("/authorize", query_string=asked, data=ROSA)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["location"])
    assert back.geturl().startswith(BACK)
    found = parse_qs(back.query)
    assert found["state"] == ["mine"]
    return found["code"][0]


def redeem(browser: FlaskClient, code: str, **changed: str) -> Any:
    form = {"grant_type": CODE_GRANT, "client_id": "fedproc-dashboard", "redirect_uri": BACK, "code_verifier": VERIFIER}
    return browser.post("/token", data={**form, "code": code, **changed})


@pytest.mark.slow
def test_a_code_is_exchanged_once(browser: FlaskClient) -> None:
    code = code_of(browser)
    first = redeem(browser, code)
    assert first.status_code == 200, first.text
    assert {"access_token", "refresh_token"} <= first.json.keys()
    assert redeem(browser, code).json["error"] == "invalid_grant"


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed", [{"code_verifier": "w" * 43}, {"client_id": "another"}, {"redirect_uri": "http://127.0.0.1/other"}]
)
def test_a_code_is_for_whom_it_was_given(browser: FlaskClient, changed: dict[str, str]) -> None:
    assert redeem(browser, code_of(browser), **changed).status_code == 400


@pytest.mark.slow
def test_a_sign_in_without_pkce_gives_no_token(browser: FlaskClient) -> None:
    asked = {name: value for name, value in ASKED.items() if not name.startswith("code_")}
    for query in (asked, ASKED):
        assert redeem(browser, code_of(browser, query), code_verifier="").json["error"] == "invalid_request"


def test_nobody_is_led_to_an_address_that_is_not_the_dashboards(browser: FlaskClient) -> None:
    answer = browser.get("/authorize", query_string={**ASKED, "redirect_uri": "https://evil.example/"})
    assert (answer.status_code, "location" in answer.headers) == (400, False)
    out = {"client_id": "fedproc-dashboard", "post_logout_redirect_uri": "https://evil.example/dashboard"}
    assert "location" not in browser.get("/end-session", query_string=out).headers
    out["post_logout_redirect_uri"] = "http://127.0.0.1:8000/dashboard"
    assert browser.get("/end-session", query_string=out).headers["location"] == out["post_logout_redirect_uri"]


@pytest.mark.slow
def test_a_wrong_password_is_told_in_the_form(browser: FlaskClient) -> None:
    answer = browser.post("/authorize", query_string=ASKED, data={**ROSA, "password": "wrong"})
    assert "is not right" in answer.text
