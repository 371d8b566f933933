"""Who may read and write the store: what the gateway is answered."""

from __future__ import annotations

import base64
import time

import httpx
import pytest
from tests.support.central_api import Federation, problem

pytestmark = pytest.mark.server


def basic(user: str, token: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


def asked(federation: Federation, what: str, headers: dict[str, str] | None = None) -> httpx.Response:
    with federation.caller(None) as client:
        return client.get(f"/store/access/{what}", headers=headers)


@pytest.mark.parametrize("scheme", ["bearer", "basic"])
def test_a_host_reads_and_does_not_write(federation: Federation, scheme: str) -> None:
    token = federation.issuer.token("host-UB", fedproc_host="UB")
    headers = {"Authorization": f"Bearer {token}"} if scheme == "bearer" else basic("host-UB", token)
    assert asked(federation, "read", headers).status_code == 204
    problem(asked(federation, "write", headers), 403, "forbidden.role")


def test_an_operator_does_both(federation: Federation) -> None:
    headers = basic("olga", federation.issuer.token("olga", "operator"))
    assert asked(federation, "read", headers).status_code == 204
    assert asked(federation, "write", headers).status_code == 204


def test_a_researcher_does_neither(federation: Federation) -> None:
    headers = basic("rosa", federation.issuer.token("rosa", "researcher"))
    problem(asked(federation, "read", headers), 403, "forbidden.role")
    problem(asked(federation, "write", headers), 403, "forbidden.role")


@pytest.mark.parametrize("what", ["read", "write"])
def test_who_sends_no_token_is_asked_for_one_as_engines_understand_it(federation: Federation, what: str) -> None:
    answer = asked(federation, what)
    problem(answer, 401, "not_authenticated")
    assert answer.headers["www-authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("headers", [
    {"Authorization": "Basic"}, {"Authorization": "Basic !!!"}, basic("host-UB", ""), basic("host-UB", "no.token.this"),
    {"Authorization": "Basic " + base64.b64encode(b"no colon").decode()}, {"Authorization": "Basic " + "A" * 40_000},
])  # fmt: skip
def test_what_is_no_token_is_refused(federation: Federation, headers: dict[str, str]) -> None:
    problem(asked(federation, "read", headers), 401, "invalid_token")


def test_an_expired_token_is_refused(federation: Federation) -> None:
    old = federation.issuer.token("host-UB", fedproc_host="UB", exp=int(time.time()) - 60)
    problem(asked(federation, "read", basic("host-UB", old)), 401, "invalid_token")


def test_a_revoked_host_is_out_at_once(lone: Federation) -> None:
    headers = basic("host-UB", lone.issuer.token("host-UB", fedproc_host="UB"))
    assert asked(lone, "read", headers).status_code == 204
    enrolment = lone.books.hosts.enrolment("UB").model_dump(mode="json")
    with lone.operator() as operator:
        assert operator.put("/hosts/UB", json={**enrolment, "active": False}).status_code == 200
    problem(asked(lone, "read", headers), 403, "forbidden.host")


def test_the_rest_of_the_api_takes_no_basic(federation: Federation) -> None:
    with federation.caller(None) as client:
        answer = client.get("/tools", headers=basic("olga", federation.issuer.token("olga", "operator")))
    problem(answer, 401, "invalid_token")
