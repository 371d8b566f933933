"""The stand-in of the adapter that knows who may use what: our own provider understands it, and tokens are checked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.issuer import TestIssuer

from fedproc.central.settings import IssuerSettings
from fedproc.demo.negotiations import create_app, grant, read, withdraw

pytestmark = pytest.mark.server


@pytest.fixture
def issuer() -> Iterator[TestIssuer]:
    with TestIssuer() as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "negotiations.json"


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(issuer: TestIssuer, file: Path) -> Ask:
    """Asks the application with a token."""

    async def asked(token: str, **query: Any) -> httpx.Response:
        app = create_app(file, IssuerSettings(url=issuer.url))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://adapter") as http:
            return await http.get(
                "/api/v1/negotiations",
                params={"type": "CONCLUDED", **query},
                headers={"Authorization": f"Bearer {token}"},
            )

    return lambda token, **query: asyncio.run(asked(token, **query))


def test_it_tells_a_user_what_is_available_to_that_user_alone(ask: Ask, issuer: TestIssuer, file: Path) -> None:
    made = [grant(file, "rosa", f"FORTH:{n}") for n in range(3)]
    pages = [ask(issuer.token("rosa"), page=n, size=2).json() for n in range(2)]
    assert [page["totalElements"] for page in pages] == [3, 3]
    assert [entry["id"] for page in pages for entry in page["data"]] == made
    assert [entry["resources"][0]["sourceId"] for entry in pages[1]["data"]] == ["FORTH:2"]
    assert ask(issuer.token("ana")).json()["data"] == []
    assert ask(issuer.token("rosa"), type="IN_PROGRESS").json()["data"] == []


def test_it_tells_of_a_grant_what_it_was_given_with_and_the_newest(ask: Ask, issuer: TestIssuer, file: Path) -> None:
    made = grant(file, "rosa", "FORTH:1", {"project": "A", "purpose": "research"})
    assert grant(file, "rosa", "FORTH:1", {"project": "B"}) == made
    (entry,) = ask(issuer.token("rosa")).json()["data"]
    assert (entry["id"], entry["project"], "purpose" in entry) == (made, "B", False)
    file.write_text('{"rosa": {"FORTH:1": "negotiation-1"}}')
    (entry,) = ask(issuer.token("rosa")).json()["data"]
    assert entry["id"] == "negotiation-1", "as a file of before has it"


def test_a_grant_that_is_withdrawn_is_gone_with_the_next_question(ask: Ask, issuer: TestIssuer, file: Path) -> None:
    first = grant(file, "rosa", "FORTH:a")
    assert grant(file, "rosa", "FORTH:a") == first
    assert withdraw(file, "rosa", "FORTH:a")
    assert not withdraw(file, "rosa", "FORTH:a")
    assert read(file) == {"rosa": {}}
    assert ask(issuer.token("rosa")).json()["data"] == []


def test_a_token_that_does_not_count_is_told_nothing(ask: Ask, issuer: TestIssuer, file: Path) -> None:
    grant(file, "rosa", "FORTH:a")
    wrong = (
        issuer.token("rosa", aud="another"),
        issuer.token("rosa", exp=1),
        issuer.token("rosa", iss="x"),
        "",
        "x.y.z",
    )
    assert [ask(token).status_code for token in wrong] == [401] * len(wrong)


@pytest.mark.parametrize("query", [{"type": "DRAFT"}, {"page": "-1"}, {"size": "0"}, {"size": "many"}])
def test_a_question_that_is_none_is_refused(ask: Ask, issuer: TestIssuer, query: dict[str, str]) -> None:
    assert ask(issuer.token("rosa"), **query).status_code == 400


def test_an_issuer_that_is_away_is_no_refusal(ask: Ask, issuer: TestIssuer) -> None:
    token = issuer.token("rosa")
    issuer.stop()
    assert ask(token).status_code == 503
