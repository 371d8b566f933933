"""Three answers of each provider, asked over real HTTP: granted, not granted, could not be asked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.providers import AVAILABLE, Adapter, Broker, VisaSigner, negotiation

from fedproc.central.grants import service
from fedproc.central.grants.answers import Finding, Person, SessionEndedError
from fedproc.central.grants.service import Grants, check
from fedproc.central.settings import GrantSettings
from fedproc.common.errors import ForbiddenError, InvalidInputError, UnavailableError
from fedproc.contract.times import moment

pytestmark = pytest.mark.server

REALM = "https://auth.test/realms/fedproc"
RESOURCE = "bbmri-eric:ID:ES_UB:collection:cohort"


@pytest.fixture
def adapter() -> Iterator[Adapter]:
    with Adapter() as running:
        yield running


def person(sub: str = "rosa", token: str = "rosas-token") -> Person:
    async def of(audience: str | None) -> str:
        return token if audience is None else f"for-{audience}"

    return Person(sub, REALM, of)


async def ask(
    providers: dict[str, Any], *datasets: str, asked: Person | None = None, **more: Any
) -> dict[str, Finding]:
    grants = Grants(GrantSettings.model_validate({"providers": providers, "default": next(iter(providers)), **more}))
    try:
        return await grants.ask(asked or person(), datasets or ("UB:cohort",))
    finally:
        await grants.close()


def negotiator(adapter: Adapter, **more: Any) -> dict[str, Any]:
    return {"eucaim": {"kind": "negotiator", "url": adapter.url, "ask_at": "https://ask.test", "seconds": 5, **more}}


NAMED = {"datasets": {"UB:cohort": {"resource": RESOURCE}}}


async def test_a_resource_that_was_made_available_is_granted_by_its_negotiation(adapter: Adapter) -> None:
    adapter.make_available("another")
    permit = adapter.make_available(RESOURCE)
    finding = (await ask(negotiator(adapter), **NAMED))["UB:cohort"]
    assert (finding.answer, finding.provider, finding.terms.permit) == ("granted", "eucaim", permit)
    assert {(path, token) for path, _, token in adapter.asked} == {("/api/v1/negotiations", "Bearer rosas-token")}


async def test_the_last_of_many_pages_counts(adapter: Adapter) -> None:
    for number in range(7):
        adapter.make_available(f"other-{number}")
    adapter.make_available(RESOURCE)
    assert (await ask(negotiator(adapter), **NAMED))["UB:cohort"].answer == "granted"
    assert [query["page"] for _, query, _ in adapter.asked if query["type"] == "CONCLUDED"] == ["0", "1", "2", "3"]


async def test_nobody_who_has_none_is_granted_and_he_is_told_where_to_ask(adapter: Adapter) -> None:
    finding = (await ask(negotiator(adapter), **NAMED))["UB:cohort"]
    assert finding.answer == "not_granted"
    assert "https://ask.test" in finding.reason


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ({}, "not_granted"),
        ({"currentState": "ACCESS_CONDITIONS_INDICATED"}, "not_granted"),
        ({"currentState": AVAILABLE}, "granted"),
    ],
)
async def test_of_a_negotiation_in_progress_the_resources_own_state_counts(
    adapter: Adapter, more: dict[str, str], answer: str
) -> None:
    adapter.in_progress.append(negotiation(RESOURCE, **more))
    assert (await ask(negotiator(adapter), **NAMED))["UB:cohort"].answer == answer


async def test_a_resource_that_was_not_made_available_is_none_though_the_negotiation_is_concluded(
    adapter: Adapter,
) -> None:
    adapter.concluded.append(negotiation(RESOURCE, currentState="RESOURCE_NOT_MADE_AVAILABLE"))
    assert (await ask(negotiator(adapter), **NAMED))["UB:cohort"].answer == "not_granted"


async def test_what_a_negotiation_tells_is_read_where_the_provider_is_one_that_tells(adapter: Adapter) -> None:
    told = {"project": "A", "permit": "N-1", "purpose": "research"}
    adapter.make_available(RESOURCE, until="2020-01-01T00:00:00Z")
    permit = adapter.make_available(RESOURCE, **told, until="2999-01-01T00:00:00+01:00")
    own = negotiation(RESOURCE, project="B", currentState=AVAILABLE)
    adapter.in_progress.append(own | told)
    plain = (await ask(negotiator(adapter), **NAMED))["UB:cohort"]
    assert [terms.project for terms in plain.grants] == [None, None, None]
    assert plain.grants[1].permit == permit
    found = (await ask(negotiator(adapter, projects=True), **NAMED))["UB:cohort"]
    assert [(terms.project, terms.permit, terms.purpose) for terms in found.grants] == [
        ("B", "N-1", "research"), ("A", "N-1", "research"),
    ]  # fmt: skip
    assert found.grants[1].until is not None


async def test_a_grant_without_end_may_be_told_by_the_last_moment_of_the_calendar(adapter: Adapter) -> None:
    adapter.make_available(RESOURCE, until="9999-12-31T23:59:59.999999-05:00")
    (terms,) = (await ask(negotiator(adapter, projects=True), **NAMED))["UB:cohort"].grants
    assert terms.until is not None
    assert moment(terms.until).year == 9999


async def test_a_grant_that_has_ended_by_its_negotiation_is_none(adapter: Adapter) -> None:
    adapter.make_available(RESOURCE, until="2020-01-01T00:00:00Z")
    finding = (await ask(negotiator(adapter, projects=True), **NAMED))["UB:cohort"]
    assert finding.answer == "not_granted"
    assert "ended on 2020-01-01 00:00 UTC" in finding.reason


def _status(status: int) -> Callable[[Adapter], None]:
    return lambda adapter: setattr(adapter, "status", status)


def _raw(raw: bytes) -> Callable[[Adapter], None]:
    return lambda adapter: setattr(adapter, "raw", raw)


def _page(**more: Any) -> Callable[[Adapter], None]:
    whole = {"data": [], "totalElements": 0, "totalPages": 0, **more}
    return _raw(json.dumps(whole).encode())


FAULTS: dict[str, Callable[[Adapter], None]] = {
    "500": _status(500),
    "401": _status(401),
    "403": _status(403),
    "404": _status(404),
    "204": _status(204),
    "a redirect": _status(302),
    "an error of upstream with 200": _raw(b'{"title": "Error", "status": 500, "detail": "page"}'),
    "no JSON": _raw(b"<html>"),
    "a list": _raw(b"[]"),
    "deep JSON": _raw(b"[" * 200_000),
    "no UTF-8": _raw(b'"\xff"'),
    "nothing": _raw(b""),
    "no data": _page(data=None),
    "fewer than it counts": _page(totalElements=3, totalPages=1),
    "pages without number": _page(totalPages="2"),
    "pages without end": _page(totalElements=10**9, totalPages=10**8),
    "a negotiation without its resources": _page(data=[{"id": "1"}], totalElements=1, totalPages=1),
    "a resource without a name": _page(data=[{"id": "1", "resources": [{}]}], totalElements=1, totalPages=1),
    "a negotiation that is a text": _page(data=["x"], totalElements=1, totalPages=1),
    "5 MB": _raw(b'"' + b"x" * 5_000_000 + b'"'),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_the_adapter_is_never_none(adapter: Adapter, fault: str) -> None:
    adapter.make_available(RESOURCE)
    FAULTS[fault](adapter)
    finding = (await ask(negotiator(adapter), **NAMED))["UB:cohort"]
    assert finding.answer == "not_asked"
    assert adapter.url in finding.reason or "negotiation" in finding.reason
    assert "rosas-token" not in finding.reason


async def test_a_page_that_fails_leaves_no_half_answer(adapter: Adapter) -> None:
    for number in range(4):
        adapter.make_available(RESOURCE if number == 0 else f"other-{number}")
    whole, calls = adapter.answer, iter(range(100))
    adapter.answer = lambda *asked: whole(*asked) if next(calls) == 0 else {"title": "Error"}  # type: ignore[method-assign]
    assert (await ask(negotiator(adapter), **NAMED))["UB:cohort"].answer == "not_asked"


async def test_a_slow_adapter_is_not_waited_for_longer_than_the_settings_say(adapter: Adapter) -> None:
    adapter.takes = 3
    finding = (await ask(negotiator(adapter, seconds=0.2), **NAMED))["UB:cohort"]
    assert finding.answer == "not_asked"
    assert "within 0.2 s" in finding.reason


async def test_an_adapter_is_waited_for_no_longer_however_many_pages_it_has(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        adapter.make_available(f"other{number}")
    adapter.takes = 0.2
    monkeypatch.setattr(service, "_SECONDS", 0.5)
    before = time.monotonic()
    finding = (await ask(negotiator(adapter), **NAMED))["UB:cohort"]
    assert time.monotonic() - before < 1.5
    assert finding.answer == "not_asked"
    assert "no whole answer within 0.5 s" in finding.reason


async def test_a_provider_is_asked_a_few_things_at_once_and_who_waits_too_long_is_told(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter.takes = 0.4
    monkeypatch.setattr(service, "_SECONDS", 1.0)
    monkeypatch.setattr(service, "_AT_ONCE", 1)
    grants = Grants(GrantSettings.model_validate({"providers": negotiator(adapter), "default": "eucaim"}))
    try:
        found = await asyncio.gather(*(grants.ask(person(), ["UB:cohort"]) for _ in range(3)))
    finally:
        await grants.close()
    assert [each["UB:cohort"].answer for each in found].count("not_asked") == 2


async def test_an_adapter_that_is_away_could_not_be_asked(adapter: Adapter) -> None:
    away = {"eucaim": {"kind": "negotiator", "url": "http://127.0.0.1:9"}}
    assert (await ask(away, **NAMED))["UB:cohort"].answer == "not_asked"


async def test_an_adapter_with_an_audience_never_sees_the_users_own_token(adapter: Adapter) -> None:
    await ask(negotiator(adapter, audience="negotiations"), **NAMED)
    assert {token for _, _, token in adapter.asked} == {"Bearer for-negotiations"}


async def test_a_session_that_has_ended_is_no_answer_of_a_provider(adapter: Adapter) -> None:
    async def ended(_: str | None) -> str:
        raise SessionEndedError("over")

    with pytest.raises(SessionEndedError):
        await ask(negotiator(adapter), asked=Person("rosa", REALM, ended))


# -- passports


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


SIGNER = VisaSigner()


def passports(broker: Broker, folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "rems.json").write_text(json.dumps(SIGNER.jwks))
    issuer = {"iss": SIGNER.iss, "jku": SIGNER.jku, "keys": folder / "rems.json", "subjects_of": REALM}
    return {"dac": {"kind": "passport", "userinfo_url": broker.url, "issuers": [issuer], "seconds": 5, **more}}


async def test_a_visa_in_the_passport_grants(broker: Broker, tmp_path: Path) -> None:
    broker.claims["ga4gh_passport_v1"] = [SIGNER.visa()]
    finding = (await ask(passports(broker, tmp_path)))["UB:cohort"]
    assert (finding.answer, finding.terms.permit) == ("granted", "visa-1")
    assert finding.terms.until is not None


@pytest.mark.parametrize("visas", [None, [], ["garbage"], [7, None, {}]])
async def test_a_passport_without_a_good_visa_grants_nothing(broker: Broker, tmp_path: Path, visas: Any) -> None:
    if visas is not None:
        broker.claims["ga4gh_passport_v1"] = visas
    assert (await ask(passports(broker, tmp_path)))["UB:cohort"].answer == "not_granted"


async def test_a_broker_that_speaks_of_somebody_else_was_not_asked(broker: Broker, tmp_path: Path) -> None:
    broker.claims |= {"sub": "mallory", "ga4gh_passport_v1": [SIGNER.visa("mallory"), SIGNER.visa()]}
    assert (await ask(passports(broker, tmp_path)))["UB:cohort"].answer == "not_asked"


@pytest.mark.parametrize("passport", ["x", {}, 7])
async def test_a_passport_that_is_no_list_was_not_asked(broker: Broker, tmp_path: Path, passport: Any) -> None:
    broker.claims["ga4gh_passport_v1"] = passport
    assert (await ask(passports(broker, tmp_path)))["UB:cohort"].answer == "not_asked"


async def test_a_claim_of_the_userinfo_names_the_user_elsewhere(broker: Broker, tmp_path: Path) -> None:
    broker.claims |= {"voperson_id": "r0sa@aai", "ga4gh_passport_v1": [SIGNER.visa("r0sa@aai")]}
    assert (await ask(passports(broker, tmp_path)))["UB:cohort"].answer == "not_granted"
    linked = passports(broker, tmp_path, identity_claims={"voperson_id": REALM})
    assert (await ask(linked))["UB:cohort"].answer == "granted"


@pytest.mark.parametrize("text", ["", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "kid": "a", "k": "eA"}]}', "[]"])
def test_keys_that_are_none_are_told_at_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    issuer = {"iss": SIGNER.iss, "jku": SIGNER.jku, "keys": tmp_path / "keys.json"}
    made = {"dac": {"kind": "passport", "userinfo_url": "http://x.test", "issuers": [issuer]}}
    with pytest.raises(InvalidInputError, match=r"keys\.json"):
        Grants(GrantSettings.model_validate({"providers": made}))


# -- which provider


def test_a_dataset_goes_before_its_host_and_a_host_before_the_default() -> None:
    settings = GrantSettings.model_validate(
        {
            "default": "one", "hosts": {"BSC": "two", "FORTH": "open"},
            "datasets": {"BSC:free": {"provider": "open"}, "BSC:named": {"resource": "x"}},
            "providers": {name: {"kind": "negotiator", "url": "http://x.test"} for name in ("one", "two")},
        }
    )  # fmt: skip
    named = ("UB:a", "BSC:a", "FORTH:a", "BSC:free", "BSC:named")
    assert [settings.provider_of(name) for name in named] == ["one", "two", "open", "open", "two"]
    assert settings.resource_of("BSC:named") == "x"
    assert settings.resource_of("BSC:a") == "BSC:a"


@pytest.mark.parametrize(
    "more", [{"default": "oppen"}, {"hosts": {"UB": "x"}}, {"datasets": {"UB:a": {"provider": "x"}}}]
)
def test_a_misspelt_provider_is_no_open_door(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="providers"):
        GrantSettings.model_validate(more)


def test_a_refusal_names_each_dataset_and_goes_before_what_could_not_be_asked() -> None:
    findings = {
        "UB:a": Finding("one", "not_asked", "away"),
        "UB:b": Finding("one", "not_granted", "no negotiation; ask for access: here"),
        "UB:c": Finding("one", "granted"),
    }
    with pytest.raises(ForbiddenError, match=r"UB:b: no negotiation; ask for access: here") as refused:
        check(findings)
    assert refused.value.code == "grant.not_granted"
    assert [entry["where"] for entry in refused.value.detail["errors"]] == ["datasets.UB:b"]
    del findings["UB:b"]
    with pytest.raises(UnavailableError, match="UB:a: away"):
        check(findings)
    del findings["UB:a"]
    check(findings)
