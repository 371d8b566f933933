"""Signing in and out: the code, the cookie, the tokens behind it, and forms that only our own pages can send."""

from __future__ import annotations

import asyncio
import base64
import random
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import select, update
from tests.support.central_api import Federation
from tests.support.issuer import TestIssuer

from fedproc.central.auth.issuer import Issuer
from fedproc.central.auth.sessions import Session, Sessions
from fedproc.central.auth.tokens import Caller, Verifier
from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.schema import audit, sessions
from fedproc.common.errors import InvalidTokenError, NotAuthenticatedError
from fedproc.demo.polling import wait_until

pytestmark = pytest.mark.server


@pytest.fixture
def visitor(dashboard: Federation) -> Iterator[httpx.Client]:
    """A browser as far as HTTP goes: it keeps cookies, and is led where answers lead it."""
    with httpx.Client(base_url=dashboard.url, follow_redirects=True, timeout=30, trust_env=False) as client:
        yield client


def form_token(page: httpx.Response) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', page.text)
    assert found, page.text
    return found[1]


def test_a_stranger_is_told_what_this_is_and_where_to_sign_in(visitor: httpx.Client) -> None:
    assert visitor.get("/").headers["content-type"] == "application/problem+json"
    page = visitor.get("/", headers={"Accept": "text/html"})
    assert page.url.path == "/dashboard"
    assert "/dashboard/sign-in" in page.text
    assert page.headers["cache-control"] == "no-store"
    assert "unsafe" not in page.headers["content-security-policy"]


def test_a_page_leads_to_the_sign_in_and_back(visitor: httpx.Client, issuer: TestIssuer) -> None:
    page = visitor.get("/dashboard/experiments?text=mine")
    assert (page.status_code, page.url.path, page.url.query) == (200, "/dashboard/experiments", b"text=mine")
    asked = next(one for one in reversed(issuer.asked) if "code_challenge" in one)
    assert (asked["code_challenge_method"], asked["client_id"]) == ("S256", "fedproc-dashboard")
    assert asked["redirect_uri"].endswith("/dashboard/sign-in/back")


def test_the_cookie_is_for_this_host_and_no_script(visitor: httpx.Client) -> None:
    back = visitor.get("/dashboard/sign-in").history[-1]
    cookie = next(line for line in back.headers.get_list("set-cookie") if line.startswith("fedproc="))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example", "/tools"])
def test_nobody_is_led_elsewhere(visitor: httpx.Client, target: str) -> None:
    assert visitor.get("/dashboard/sign-in", params={"next": target}).url.path == "/dashboard"


def test_a_code_that_another_browser_asked_for_signs_nobody_in(dashboard: Federation, visitor: httpx.Client) -> None:
    begun = visitor.get("/dashboard/sign-in", follow_redirects=False)
    back = httpx.get(begun.headers["location"], trust_env=False).headers["location"]
    with httpx.Client(base_url=dashboard.url, trust_env=False) as other:
        answer = other.get(back)
    assert answer.status_code == 401
    assert "another browser" in answer.text
    assert "fedproc=" not in answer.headers.get("set-cookie", "")


def test_a_refused_sign_in_says_what_to_do(visitor: httpx.Client, issuer: TestIssuer) -> None:
    issuer.signs_in = None
    page = visitor.get("/dashboard/hosts")
    assert page.status_code == 401
    assert "ask the federation&#39;s operator for an account" in page.text.replace("\n", " ")


def test_who_has_no_role_is_told_so(visitor: httpx.Client, issuer: TestIssuer) -> None:
    issuer.signs_in = ("nobody-yet",)
    page = visitor.get("/dashboard/sign-in")
    assert page.status_code == 403
    assert "nobody-yet" in page.text
    assert visitor.get("/dashboard/hosts").status_code == 403


def test_tokens_are_renewed_and_new_roles_count(visitor: httpx.Client, issuer: TestIssuer) -> None:
    issuer.lives = 10  # less than the time before its end at which a token is renewed
    visitor.get("/dashboard/sign-in")
    assert visitor.get("/dashboard/experiments?whose=all").text.count("everybody") == 0
    for refresh, who in issuer.sessions.items():
        issuer.sessions[refresh] = (who[0], "operator")
    assert "everybody" in visitor.get("/dashboard/experiments").text


def test_who_is_signed_out_at_the_issuer_is_signed_out_here(visitor: httpx.Client, issuer: TestIssuer) -> None:
    issuer.lives = 10
    visitor.get("/dashboard/sign-in")
    issuer.sessions.clear()
    stream = visitor.get("/dashboard/hosts/table", headers={"Sec-Fetch-Dest": "empty"}, follow_redirects=False)
    assert stream.status_code == 401
    assert "Sign out" not in visitor.get("/dashboard").text


def test_a_session_ends_in_time(dashboard: Federation, visitor: httpx.Client) -> None:
    visitor.get("/dashboard/sign-in")
    with write_transaction(dashboard.engine) as connection:
        connection.execute(update(sessions).values(expires=1.0))
    answer = visitor.get("/dashboard/hosts", follow_redirects=False)
    assert answer.headers["location"].startswith("/dashboard/sign-in?next=%2Fdashboard%2Fhosts")


def test_the_database_alone_opens_no_session(dashboard: Federation, visitor: httpx.Client) -> None:
    visitor.get("/dashboard/sign-in")
    cookie = visitor.cookies["fedproc"]
    with read_transaction(dashboard.engine) as connection:
        rows = connection.execute(select(sessions)).all()
    kept = repr([tuple(row) for row in rows])
    assert cookie not in kept
    assert "eyJ" not in kept  # no JWT in the clear
    with httpx.Client(base_url=dashboard.url, cookies={"fedproc": rows[-1].id}, trust_env=False) as thief:
        assert thief.get("/dashboard/hosts").status_code == 303


def test_signing_out_ends_the_session_for_whoever_has_the_cookie(dashboard: Federation, visitor: httpx.Client) -> None:
    page = visitor.get("/dashboard/sign-in")
    cookie = visitor.cookies["fedproc"]
    out = visitor.post("/dashboard/sign-out", data={"form_token": form_token(page)})
    assert (out.status_code, out.url.path) == (200, "/dashboard")
    assert out.history[0].headers["location"].startswith(dashboard.issuer.url)
    with httpx.Client(base_url=dashboard.url, cookies={"fedproc": cookie}, trust_env=False) as thief:
        assert thief.get("/dashboard/hosts").status_code == 303


def test_a_form_of_another_site_does_nothing(dashboard: Federation, visitor: httpx.Client) -> None:
    page = visitor.get("/dashboard/sign-in")
    token = form_token(page)
    refused = (
        visitor.post("/dashboard/sign-out", data={"form_token": "0" * 64}),
        visitor.post("/dashboard/sign-out"),
        visitor.post("/dashboard/sign-out", data={"form_token": token}, headers={"Sec-Fetch-Site": "cross-site"}),
    )
    assert [answer.status_code for answer in refused] == [403, 403, 403]
    assert "nothing was done" in refused[0].text
    assert "Sign out" in visitor.get("/dashboard").text


def test_a_token_of_another_session_does_not_count(dashboard: Federation, visitor: httpx.Client) -> None:
    token = form_token(visitor.get("/dashboard/sign-in"))
    with httpx.Client(base_url=dashboard.url, follow_redirects=True, trust_env=False) as other:
        other.get("/dashboard/sign-in")
        assert other.post("/dashboard/sign-out", data={"form_token": token}).status_code == 403


def test_the_audit_names_who_signed_in(dashboard: Federation, visitor: httpx.Client, issuer: TestIssuer) -> None:
    issuer.signs_in = ("ruth", "researcher")
    visitor.get("/dashboard/sign-in")
    with read_transaction(dashboard.engine) as connection:
        acts = connection.execute(select(audit.c.action).where(audit.c.actor == "ruth")).scalars().all()
    assert acts == ["end_sign_in"]


def test_an_issuer_that_is_away_is_told_as_a_page(
    dashboard: Federation, visitor: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = dashboard.app.state.fedproc.issuer
    monkeypatch.setattr(away, "_document", {})
    monkeypatch.setattr(away, "_discovery", "http://127.0.0.1:9/nobody")
    page = visitor.get("/dashboard/sign-in")
    assert page.status_code == 503
    assert "the issuer does not answer" in page.text
    assert page.headers["content-type"].startswith("text/html")


def test_an_address_without_a_page_is_told_as_a_page(visitor: httpx.Client) -> None:
    visitor.get("/dashboard/sign-in")
    page = visitor.get("/dashboard/no/such/page")
    assert page.status_code == 404
    assert "there is no page at this address" in page.text
    odd = (
        "experiments/e-00000000000000000000000000",
        "hosts/%2E",
        "hosts/%2E%2E",
        "hosts/%252e",
        "tools/a%00b",
        "files/%2F",
    )
    for path in odd:
        assert visitor.get(f"/dashboard/{path}").status_code == 404, path


@pytest.mark.parametrize("refusal", [(429, {}), (401, {"error": "invalid_client"}), (400, {"error": "slow_down"})])
def test_an_issuer_that_is_not_itself_ends_no_sign_in(
    visitor: httpx.Client, issuer: TestIssuer, refusal: tuple[int, dict[str, str]]
) -> None:
    issuer.lives = 1
    visitor.get("/dashboard/sign-in")
    issuer.refuses = refusal
    wait_until(lambda: visitor.get("/dashboard/hosts").status_code == 503, 20, "the token did not end")
    issuer.refuses = None
    assert visitor.get("/dashboard/hosts", follow_redirects=False).status_code == 200


def test_who_cannot_be_renewed_now_is_signed_in_while_the_token_lives(
    visitor: httpx.Client, issuer: TestIssuer
) -> None:
    issuer.lives = 20
    visitor.get("/dashboard/sign-in")
    issuer.refuses = 503, {}
    assert visitor.get("/dashboard/hosts", follow_redirects=False).status_code == 200


def test_signing_out_needs_no_issuer(dashboard: Federation, visitor: httpx.Client, issuer: TestIssuer) -> None:
    issuer.lives = 1
    token = form_token(visitor.get("/dashboard/sign-in"))
    issuer.refuses = 503, {}
    wait_until(lambda: visitor.get("/dashboard/hosts").status_code == 503, 20, "the token did not end")
    assert "Sign out" in visitor.get("/dashboard/hosts").text
    assert visitor.post("/dashboard/sign-out", data={"form_token": token}).url.path == "/dashboard"
    assert "Sign out" not in visitor.get("/dashboard").text


def test_failed_sign_ins_count_as_such(dashboard: Federation, visitor: httpx.Client, issuer: TestIssuer) -> None:
    issuer.refuses = 400, {"error": "invalid_grant"}
    assert visitor.get("/dashboard/sign-in").status_code == 401
    with read_transaction(dashboard.engine) as connection:
        found = connection.execute(select(audit.c.action, audit.c.outcome, audit.c.actor)).all()
    assert found[-1] == ("end_sign_in", 401, "anonymous")


def test_two_processes_renew_one_session(dashboard: Federation, issuer: TestIssuer) -> None:
    issuer.lives, issuer.rotates = 10, True

    async def renewed_by_both() -> tuple[Session, Session, Session]:
        one, other = (sessions_of(dashboard) for _ in range(2))
        issuer.sessions["first"] = ("rosa", "researcher")
        begun = await one.begin(issuer.tokens_for(issuer.sessions["first"], "first"))
        stale = await other.read(begun.cookie)
        first, second = await asyncio.gather(one.renew(begun), other.renew(begun))
        third = await other._renewed(stale)  # its refresh token was used up meanwhile
        return first, second, third

    first, second, third = asyncio.run(renewed_by_both())
    assert first.tokens.refresh in issuer.sessions
    assert first.tokens == second.tokens == third.tokens


def sessions_of(dashboard: Federation) -> Sessions:
    """As another process of the API has them."""
    asked = Issuer(dashboard.settings.issuer)
    return Sessions(dashboard.engine, asked, Verifier(asked), 1)


def test_a_session_that_was_ended_meanwhile_is_not_kept(dashboard: Federation, issuer: TestIssuer) -> None:
    async def renewed_after_its_end() -> None:
        one = sessions_of(dashboard)
        issuer.sessions["ended"] = ("rosa", "researcher")
        begun = await one.begin(issuer.tokens_for(issuer.sessions["ended"], "ended"))
        stale = await one.read(begun.cookie)
        await one.end(begun)
        await one._renewed(stale)

    with pytest.raises(NotAuthenticatedError):
        asyncio.run(renewed_after_its_end())


def test_a_token_lives_as_long_as_it_says_itself(dashboard: Federation, issuer: TestIssuer) -> None:
    async def begun() -> Session:
        return await sessions_of(dashboard).begin(
            {**issuer.tokens_for(("rosa", "researcher"), "r"), "expires_in": 9999}
        )

    session = asyncio.run(begun())
    assert session.tokens.until < time.time() + 700
    assert session.tokens.access not in repr(session)
    assert repr(session.secret) not in repr(session)


def test_a_token_that_the_api_takes_no_more_is_renewed_once(
    dashboard: Federation, visitor: httpx.Client, issuer: TestIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.get("/dashboard/sign-in")
    seen: list[str] = []
    takes_any = True
    verifier = dashboard.app.state.fedproc.verifier
    check = verifier.verify

    async def verify(token: str) -> Caller:
        seen.append(token)
        if token == seen[0] or not takes_any:
            raise InvalidTokenError("the token does not count: the key is gone")
        return await check(token)

    monkeypatch.setattr(verifier, "verify", verify)
    issuer.lives = 601
    assert visitor.get("/dashboard/hosts", follow_redirects=False).status_code == 200
    takes_any = False
    led = visitor.get("/dashboard/hosts", follow_redirects=False)
    assert led.headers["location"].startswith("/dashboard/sign-in?")
    assert visitor.get(led.headers["location"], follow_redirects=False).headers["location"].startswith(issuer.url)


@pytest.fixture
def over_tls(dashboard: Federation) -> Iterator[None]:
    app = dashboard.app.state.fedproc
    settings = app.settings.model_copy(update={"public_url": dashboard.url.replace("http:", "https:")})
    dashboard.app.state.fedproc = replace(app, settings=settings)
    yield
    dashboard.app.state.fedproc = app


@pytest.mark.usefixtures("over_tls")
def test_a_sign_in_that_was_begun_is_of_this_very_host(dashboard: Federation) -> None:
    with httpx.Client(base_url=dashboard.url, trust_env=False) as browser:
        begun = browser.get("/dashboard/sign-in")
        state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
        cookie = begun.headers["set-cookie"]
        assert cookie.startswith(f"__Host-fedproc-sign-in-{state[:8]}=")
        assert "Secure" in cookie
        assert "Domain" not in cookie
        back = httpx.get(begun.headers["location"], trust_env=False).headers["location"]
        tossed = {cookie.partition("=")[0].removeprefix("__Host-"): cookie.partition("=")[2].partition(";")[0]}
        path = back.replace("https:", "http:")
        with httpx.Client(cookies=tossed, trust_env=False) as victim:
            assert victim.get(path).status_code == 401
        ended = httpx.get(path, headers={"Cookie": cookie.partition(";")[0]}, trust_env=False)
        gone = next(line for line in ended.headers.get_list("set-cookie") if "sign-in" in line)
        assert "Max-Age=0" in gone
        assert "Secure" in gone


def test_two_tabs_sign_in_each_to_its_own_page(dashboard: Federation, visitor: httpx.Client) -> None:
    tabs = [
        visitor.get("/dashboard/sign-in", params={"next": f"/dashboard/{page}"}, follow_redirects=False)
        for page in ("hosts", "tools")
    ]
    pages = [visitor.get(tab.headers["location"]).url.path for tab in tabs]
    assert pages == ["/dashboard/hosts", "/dashboard/tools"]


def test_few_sign_ins_wait_in_one_browser(visitor: httpx.Client) -> None:
    for _ in range(12):
        visitor.get("/dashboard/sign-in", follow_redirects=False)
    assert len([name for name in visitor.cookies if "sign-in" in name]) == 5


RANDOM = base64.urlsafe_b64encode(random.Random(1).randbytes(3600)).decode()


@pytest.mark.parametrize("target", ["/dashboard?text=" + "x" * 5000, "/dashboard/tools?text=" + RANDOM])
def test_a_page_with_too_long_an_address_leads_to_the_start(visitor: httpx.Client, target: str) -> None:
    begun = visitor.get("/dashboard/sign-in", params={"next": target}, follow_redirects=False)
    assert begun.status_code == 303
    assert len(begun.headers["set-cookie"]) < 4096
    ended = visitor.get(begun.headers["location"])
    assert (ended.status_code, str(ended.url).partition("/dashboard")[2]) == (200, "")


def test_a_long_address_is_come_back_to(visitor: httpx.Client) -> None:
    target = "/dashboard/new?tool=learn" + "&dataset=UB:some-cohort" * 200
    begun = visitor.get("/dashboard/sign-in", params={"next": target}, follow_redirects=False)
    assert len(begun.headers["set-cookie"]) < 4096
    back = visitor.get(
        visitor.get(begun.headers["location"], follow_redirects=False).headers["location"], follow_redirects=False
    )
    assert back.headers["location"] == target
