"""Pages of other sites: those that the settings name may call the API with a token, and never by a sign-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from tests.central.conftest import new_database
from tests.support.books import settings_in
from tests.support.central_api import Federation
from tests.support.issuer import TestIssuer

NAMED, OTHER = "https://dashboard.eucaim.test", "https://elsewhere.test"


@pytest.fixture(scope="module")
def open_to_one(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, issuer: TestIssuer
) -> Iterator[Federation]:
    folder = tmp_path_factory.mktemp("centre")
    with Federation(new_database(request, "sqlite", folder), folder, issuer, cors_origins=[NAMED]) as running:
        yield running


def preflight(api: Federation, origin: str, path: str = "/experiments") -> httpx.Response:
    headers = {
        "Origin": origin, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }  # fmt: skip
    return httpx.options(api.url + path, headers=headers)


def test_named_site_may_ask_and_is_told_what_it_may_send(open_to_one: Federation) -> None:
    answer = preflight(open_to_one, NAMED)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == NAMED
    assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


def test_named_site_reads_answers_and_faults(open_to_one: Federation) -> None:
    with open_to_one.user() as rosa:
        good = rosa.get("/tools", headers={"Origin": NAMED})
    refused = httpx.get(f"{open_to_one.url}/experiments", headers={"Origin": NAMED})
    assert (good.status_code, refused.status_code) == (200, 401)
    for answer in (good, refused):
        assert answer.headers["access-control-allow-origin"] == NAMED
        assert "Location" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("origin", [OTHER, "null", f"{NAMED}.attacker.test", "http://dashboard.eucaim.test"])
def test_other_sites_are_told_nothing(open_to_one: Federation, origin: str) -> None:
    assert preflight(open_to_one, origin).status_code == 400
    answer = httpx.get(f"{open_to_one.url}/hosts/health/", headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


def test_without_the_setting_nothing_is_said(federation: Federation) -> None:
    answer = httpx.get(f"{federation.url}/hosts/health/", headers={"Origin": NAMED})
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("origin", ["*", "dashboard.test", "https://a.test/", "https://a.test/path", "http://a.test"])
def test_what_is_no_origin_is_refused(tmp_path: Path, origin: str) -> None:
    with pytest.raises(ValidationError, match="cors_origins"):
        settings_in(tmp_path, "sqlite:///x", cors_origins=[origin])
