"""Signing in over ``POST /token``, and which tokens count."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import RSAKey
from tests.support.central_api import Federation, problem
from tests.support.issuer import TestIssuer
from tests.support.trickling import HEAD, Trickling

from fedproc.central.api import audit
from fedproc.central.auth import issuer as issuer_module
from fedproc.central.settings import IssuerSettings
from fedproc.client.api import Client
from fedproc.common.errors import NotAuthenticatedError, UnavailableError
from fedproc.contract.api.base import Token

pytestmark = pytest.mark.server

GOOD = {"username": "rosa", "password": "correct horse"}


@pytest.fixture
def nobody(federation: Federation) -> Iterator[httpx.Client]:
    with federation.caller(None) as client:
        yield client


def test_a_password_gives_a_token_that_counts(federation: Federation, nobody: httpx.Client) -> None:
    answer = nobody.post("/token", data={"grant_type": "password", **GOOD})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 600
    assert answer.headers["cache-control"] == "no-store"
    with federation.caller(body["access_token"]) as rosa:
        assert rosa.get("/experiments").status_code == 200
    again = nobody.post("/token", data={"grant_type": "refresh_token", "refresh_token": body["refresh_token"]})
    assert again.status_code == 200
    assert "access_token" in again.json()


def test_a_client_whose_session_ended_signs_in_by_its_password_again(federation: Federation) -> None:
    ended = Token(access_token="old", token_type="Bearer", expires_in=0, refresh_token="ended")
    both = {"token": ended, **GOOD}
    with closing(Client(federation.url, **both)) as rosa:
        assert rosa.experiments().items == []
    with (
        closing(Client(federation.url, token=ended)) as rosa,
        pytest.raises(NotAuthenticatedError, match="not signed in"),
    ):
        rosa.experiments()


def test_programs_of_one_user_sign_in_at_once(federation: Federation, nobody: httpx.Client) -> None:
    federation.issuer.takes = 0.1
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: nobody.post("/token", data=GOOD).status_code, range(8)))
    finally:
        federation.issuer.takes = 0.0
    assert found == [200] * 8


def test_who_comes_when_many_wait_is_told_at_once(federation: Federation, nobody: httpx.Client) -> None:
    federation.issuer.takes = 0.2
    try:
        with ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(lambda _: nobody.post("/token", data=GOOD), range(40)))
    finally:
        federation.issuer.takes = 0.0
    assert {answer.status_code for answer in answers} == {200, 503}
    assert all("too many sign-ins of rosa" in answer.text for answer in answers if answer.status_code == 503)


@pytest.mark.slow
def test_a_sign_in_may_take_longer_than_other_questions(
    federation: Federation, nobody: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keycloak on a machine that is busy needs seconds to compare a password; nobody asks it again by oneself."""
    monkeypatch.setattr(federation.issuer, "takes", 5.5)
    assert nobody.post("/token", data=GOOD, timeout=30).status_code == 200


def test_the_grant_type_may_be_left_out(nobody: httpx.Client) -> None:
    assert nobody.post("/token", data=GOOD).status_code == 200


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({**GOOD, "password": "wrong"}, 401, "invalid_grant"),
        ({**GOOD, "username": "nobody"}, 401, "invalid_grant"),
        ({"username": "rosa"}, 400, "invalid_request"),
        ({}, 400, "invalid_request"),
        ({**GOOD, "grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "stolen"}, 400, "invalid_grant"),
        ({"grant_type": "refresh_token"}, 400, "invalid_request"),
    ],
)
def test_what_is_refused_is_refused_as_oauth2_says(
    nobody: httpx.Client, form: dict[str, str], status: int, error: str
) -> None:
    answer = nobody.post("/token", data=form)
    body = answer.json()
    assert (answer.status_code, body["error"]) == (status, error)
    assert body["error_description"] == body["detail"]
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert "wrong" not in answer.text.replace("is wrong", "")


def test_a_json_body_is_no_form(nobody: httpx.Client) -> None:
    answer = nobody.post("/token", json=GOOD)
    assert answer.status_code in {400, 422}
    assert "access_token" not in answer.text


def test_hostile_names_reach_the_issuer_alone(
    federation: Federation, nobody: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "STRANGERS_A_MINUTE", 1_000_000)  # other tests failed to sign in, too
    for name in ("a" * 5000, "x\x00y", "rosa\r\nX: y", "'; DROP TABLE audit; --", "ürsula"):
        assert nobody.post("/token", data={"username": name, "password": "p"}).status_code == 401, name
    with federation.operator() as olga:
        kept = olga.get("/audit", params={"action": "get_token", "outcome": 401}).json()["items"]
    assert "'; DROP TABLE audit; --" in [entry["target"] for entry in kept]


def test_a_password_stands_in_no_log_and_no_audit(
    federation: Federation, nobody: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    nobody.post("/token", data={"username": "rosa", "password": "tell-nobody-7"})
    with federation.operator() as olga:
        assert "tell-nobody-7" not in olga.get("/audit").text
    assert "tell-nobody-7" not in caplog.text


def test_where_the_issuer_takes_no_passwords_the_device_flow_is_named(
    federation: Federation, nobody: httpx.Client, issuer: TestIssuer
) -> None:
    before, issuer.grant_types = issuer.grant_types, ["urn:ietf:params:oauth:grant-type:device_code"]
    try:
        with Federation(f"sqlite:///{federation.folder}/other.db", federation.folder, issuer) as fresh:
            with fresh.caller(None) as client:
                answer = client.post("/token", data=GOOD)
    finally:
        issuer.grant_types = before
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")
    assert f"{issuer.url}/device" in answer.json()["error_description"]


def test_without_its_issuer_the_api_says_so(tmp_path: Path) -> None:
    with TestIssuer() as gone:
        token = gone.token("rosa", "researcher")
    with Federation(f"sqlite:///{tmp_path}/central.db", tmp_path, gone) as alone:
        with alone.caller(token) as rosa:
            answer = rosa.get("/experiments")
            assert "try again" in problem(answer, 503, "unavailable.issuer")["detail"]
            assert answer.headers["retry-after"]
            problem(rosa.post("/token", data=GOOD), 503, "unavailable.issuer")


@pytest.mark.parametrize("at_once", [HEAD + b"X-Head: ", HEAD + b"\r\n{"], ids=["head", "body"])
async def test_issuer_that_trickles_is_away(at_once: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuer_module, "_LONGEST", 0.3)
    with closing(Trickling()) as server:
        server.at_once, begun = at_once, time.monotonic()
        asked = issuer_module.Issuer(IssuerSettings(url=server.url))
        with pytest.raises(UnavailableError, match=r"the issuer does not answer at .*: TimeoutError; try again"):
            await asked.discover()
        asked._document = {"token_endpoint": f"{server.url}/token"}
        with pytest.raises(UnavailableError, match="does not answer"):
            await asked.grant({"grant_type": "client_credentials"})
        await asked.close()
        assert time.monotonic() - begun < 5


# -- tokens


def test_no_token(nobody: httpx.Client) -> None:
    answer = nobody.get("/experiments")
    assert "POST /token" in problem(answer, 401, "not_authenticated")["detail"]
    assert answer.headers["www-authenticate"] == 'Bearer realm="fedproc"'


@pytest.mark.parametrize("header", ["Bearer", "Basic cm9zYTpw", "Bearer abc", "Bearer a.b.c", "Bearer " + "x" * 20_000])
def test_what_is_no_token(nobody: httpx.Client, header: str) -> None:
    answer = nobody.get("/experiments", headers={"Authorization": header})
    problem(answer, 401, "invalid_token")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_two_tokens_are_none(nobody: httpx.Client, issuer: TestIssuer) -> None:
    good = ("Authorization", f"Bearer {issuer.token('rosa', 'researcher')}")
    problem(nobody.get("/experiments", headers=[good, good]), 401, "invalid_token")


FOREIGN = RSAKey.generate_key(2048, {"kid": "foreign"})
FALSE_NAME = RSAKey.generate_key(2048, {"kid": "one"})


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": 1_000_000}, "expired"),
        ({"exp": None}, "times"),
        ({"exp": "tomorrow"}, "times"),
        ({"exp": True}, "times"),
        ({"nbf": time.time() + 3600}, "not valid yet"),
        ({"iss": "https://elsewhere.test"}, "another issuer"),
        ({"aud": "another-api"}, "not meant for"),
        ({"aud": None}, "not meant for"),
        ({"sub": None}, "names nobody"),
        ({"sub": ""}, "names nobody"),
        ({"sub": "rosa\nadmin"}, "names nobody"),
        ({"nonce": "n"}, "not an access token"),
        ({"typ": "Refresh"}, "not an access token"),
        ({"fedproc_host": ["UB"]}, "no host id"),
        ({"key": FOREIGN}, "does not publish"),
        ({"key": FALSE_NAME}, "signature is wrong"),
        ({"header": {"alg": "RS256", "kid": "one", "typ": "logout+jwt"}}, "not an access token"),
    ],
)
def test_tokens_that_do_not_count(federation: Federation, issuer: TestIssuer, claims: dict[str, Any], why: str) -> None:
    with federation.caller(issuer.token("rosa", "researcher", **claims)) as client:
        assert why in problem(client.get("/experiments"), 401, "invalid_token")["detail"]


def test_no_algorithm_but_those_of_the_settings(federation: Federation, issuer: TestIssuer) -> None:
    claims = {"iss": issuer.url, "aud": "fedproc-api", "sub": "rosa", "exp": time.time() + 60}
    begin = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{_part(claims)}"
    mac = hmac.digest(issuer.key.as_pem(private=False), begin.encode(), "sha256")
    by_public_key = f"{begin}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb3NhIn0."
    for token in (by_public_key, unsigned):
        with federation.caller(token) as client:
            assert "algorithm" in problem(client.get("/experiments"), 401, "invalid_token")["detail"]


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_a_new_key_of_the_issuer_is_taken_up(tmp_path: Path) -> None:
    with TestIssuer() as issuer, Federation(f"sqlite:///{tmp_path}/central.db", tmp_path, issuer) as federation:
        issuer.keys.append(RSAKey.generate_key(2048, {"kid": "two", "use": "sig", "alg": "RS256"}))
        with federation.caller(issuer.token("rosa", "researcher", key=issuer.keys[1])) as rosa:
            assert rosa.get("/experiments").status_code == 200
        with federation.caller(issuer.token("rosa", "researcher", key=FOREIGN)) as rosa:
            for _ in range(5):
                problem(rosa.get("/experiments"), 401)
        assert issuer.key_fetches == 1, "unknown keys must not make us ask the issuer each time"


def test_the_issuers_silence_later_does_not_matter(tmp_path: Path) -> None:
    with TestIssuer() as issuer:
        federation = Federation(f"sqlite:///{tmp_path}/central.db", tmp_path, issuer)
        with federation, federation.user() as rosa:
            assert rosa.get("/experiments").status_code == 200
            issuer.stop()
            with federation.user("rene") as rene:
                assert rene.get("/experiments").status_code == 200


# -- roles


def test_roles_come_from_either_claim(federation: Federation) -> None:
    token = federation.issuer.token("rosa", realm_access=None, eduperson_entitlement=["researcher"])
    with federation.caller(token) as rosa:
        assert rosa.get("/experiments").status_code == 200


def test_without_a_role_nothing_is_to_be_had(federation: Federation) -> None:
    with federation.user("rosa", "tourist") as client:
        for path in ("/experiments", "/tools", "/hosts/", "/data/files/", "/datasets"):
            answer = client.get(path)
            problem(answer, 403, "forbidden.role")
            assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


def test_a_researcher_does_not_operate(federation: Federation) -> None:
    with federation.user() as rosa:
        problem(rosa.get("/audit"), 403, "forbidden.role")
        problem(rosa.get("/hosts/?all=true"), 403, "forbidden.role")
        problem(rosa.put("/hosts/EVIL", json={"roles": ["data"], "public_key": {"kty": "EC"}}), 403, "forbidden.role")
        problem(rosa.post("/tools", data={"manifest": "x"}, files={"bundle": b"x"}), 403, "forbidden.role")


def test_a_host_is_no_user_and_a_user_no_host(federation: Federation) -> None:
    with federation.host("UB") as host:
        problem(host.get("/experiments"), 403, "forbidden.role")
        assert host.get("/tools").status_code == 200
    with federation.user() as rosa:
        answer = rosa.post("/uploads", json={})
        assert "a host's token" in problem(answer, 403, "forbidden.role")["detail"]


def test_a_host_that_is_not_enrolled_or_was_revoked_is_nobody(lone: Federation) -> None:
    with lone.host("NEVER") as host:
        problem(host.get("/tools"), 403, "forbidden.host")
    with lone.host("BSC") as host, lone.operator() as olga:
        assert host.get("/tools").status_code == 200
        enrolment = lone.books.hosts.enrolment("BSC").model_dump(mode="json")
        assert olga.put("/hosts/BSC", json={**enrolment, "active": False}).status_code == 200
        problem(host.get("/tools"), 403, "forbidden.host")


def test_roles_in_a_hosts_token_are_not_a_users(federation: Federation) -> None:
    token = federation.issuer.token("host-UB", "admin", fedproc_host="UB")
    with federation.caller(token) as client:
        problem(client.get("/audit"), 403, "forbidden.role")
