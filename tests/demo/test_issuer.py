"""The demo's issuer signs a browser in by a code, which is good once, for one dashboard, and with its verifier; it
exchanges a user's token for its own clients, for as long as the user's session lasts."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from werkzeug.security import generate_password_hash

from fedproc.common.http import client_assertion
from fedproc.common.keys import load_key, public_jwk
from fedproc.demo.issuer.app import create_app
from fedproc.demo.issuer.model import CODE_GRANT, EXCHANGE_GRANT, Client, IssuerSettings, User

BACK = "http://127.0.0.1:8000/dashboard/sign-in/back"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
ASKED = {
    "client_id": "fedproc-dashboard", "response_type": "code", "scope": "openid", "redirect_uri": BACK, "state": "mine",
    "code_challenge": CHALLENGE, "code_challenge_method": "S256",
}  # fmt: skip
ROSA = {"username": "rosa", "password": "correct horse"}
API = ECKey.generate_key("P-256").as_pem(private=True)
URN = "urn:ietf:params:oauth:token-type:"


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
            Client(
                client_id="fedproc-api",
                public_key=public_jwk(load_key(API)),
                grants=("password", "refresh_token", EXCHANGE_GRANT),
            ),
            Client(client_id="host-UB", public_key=public_jwk(load_key(API)), grants=("client_credentials",)),
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


@pytest.mark.slow
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


# -- exchange, by the API's own client


def as_client(browser: FlaskClient, client: str = "fedproc-api", **form: str) -> Any:
    proof = client_assertion(client, "http://127.0.0.1:9000/token", load_key(API))
    return browser.post("/token", data={**form, **proof})


def exchange(browser: FlaskClient, token: str, client: str = "fedproc-api", **more: str) -> Any:
    subject = {"grant_type": EXCHANGE_GRANT, "subject_token": token, "subject_token_type": URN + "access_token"}
    return as_client(browser, client, **{**subject, **more})


def claims(token: str) -> dict[str, Any]:
    return dict(json.loads(jws.extract_compact(token.encode()).payload))


@pytest.fixture
def signed_in(browser: FlaskClient) -> str:
    """An access token of rosa's, got with a browser."""
    return str(redeem(browser, code_of(browser)).json["access_token"])


@pytest.mark.slow
def test_a_users_token_becomes_one_for_a_single_audience(browser: FlaskClient, signed_in: str) -> None:
    answer = exchange(browser, signed_in, audience="host-UB", scope="host-UB")
    assert (answer.status_code, answer.json["issued_token_type"]) == (200, URN + "access_token"), answer.text
    assert "refresh_token" not in answer.json
    given = claims(answer.json["access_token"])
    assert (given["aud"], given["sub"], given["azp"]) == (["host-UB"], "rosa", "fedproc-api")
    assert exchange(browser, answer.json["access_token"], audience="host-UB").status_code == 200
    assert claims(signed_in)["aud"] == ["fedproc-api"]


@pytest.mark.slow
def test_a_session_is_held_by_a_refresh_token_of_the_apis_own_until_it_ends(
    browser: FlaskClient, signed_in: str
) -> None:
    held = exchange(browser, signed_in, requested_token_type=URN + "refresh_token").json
    renewed = as_client(browser, grant_type="refresh_token", refresh_token=held["refresh_token"])
    assert claims(renewed.json["access_token"])["sub"] == "rosa"
    out = {"client_id": "fedproc-dashboard", "post_logout_redirect_uri": "http://127.0.0.1:8000/dashboard"}
    assert browser.get("/end-session", query_string=out).status_code == 302
    again = as_client(browser, grant_type="refresh_token", refresh_token=renewed.json["refresh_token"])
    assert (again.status_code, again.json["error"]) == (400, "invalid_grant")
    assert exchange(browser, renewed.json["access_token"], audience="host-UB").json["error"] == "invalid_request"


@pytest.mark.slow
def test_the_end_of_one_session_leaves_the_others(browser: FlaskClient, signed_in: str) -> None:
    other = as_client(browser, grant_type="password", **ROSA).json
    browser.get("/end-session")
    assert exchange(browser, signed_in, audience="host-UB").status_code == 400
    assert exchange(browser, other["access_token"], audience="host-UB").status_code == 200
    browser.delete_cookie("fedproc_issuer_session")
    browser.get("/end-session")
    assert exchange(browser, other["access_token"], audience="host-UB").status_code == 200


@pytest.mark.slow
def test_what_may_not_be_exchanged_is_refused(browser: FlaskClient, signed_in: str) -> None:
    assert exchange(browser, signed_in, client="host-UB", audience="host-UB").json["error"] == "unauthorized_client"
    assert exchange(browser, signed_in, audience="host-BSC").json["error"] == "invalid_request"
    own = as_client(browser, "host-UB", grant_type="client_credentials").json["access_token"]
    for token in (own, signed_in[:-4], ""):
        assert exchange(browser, token, audience="host-UB").json["error"] == "invalid_request", token
    assert exchange(browser, signed_in, subject_token_type=URN + "id_token").json["error"] == "invalid_request"
    bare = {"grant_type": EXCHANGE_GRANT, "subject_token": signed_in, "subject_token_type": URN + "access_token"}
    assert browser.post("/token", data={**bare, "client_id": "fedproc-dashboard"}).json["error"] == "invalid_client"
