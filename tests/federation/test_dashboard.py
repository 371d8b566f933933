"""People sign in at the dashboard through the gateway and the real Keycloak, by authorisation code with PKCE."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from tests.federation.browser import OPENID, Browser
from tests.federation.centre import Centre
from tests.support.browser import launched

from fedproc.demo.containers import DOMAIN, GATEWAY

_API = f"https://api.{DOMAIN}"
_COOKIE = "__Host-fedproc"
_WELCOME = "What would you like to do?"


class _Form(HTMLParser):
    """What a browser would send of the form with this action, without a choice of anybody's."""

    def __init__(self, page: str, action: str) -> None:
        super().__init__()
        self.fields: list[tuple[str, str]] = []
        self._action, self._within = action, False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._within = given.get("action") == self._action
        is_off = given.get("type") in {"checkbox", "radio"} and "checked" not in given
        if self._within and tag == "input" and given.get("name") and not is_off and "disabled" not in given:
            self.fields.append((str(given["name"]), given.get("value") or ""))


def send(browser: Browser, page: httpx.Response, action: str) -> httpx.Response:
    fields = _Form(page.text, action).fields
    assert fields, page.text[:2000]
    content = urllib.parse.urlencode(fields)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": _API}
    return browser.http.post(f"{_API}{action}", content=content, headers=headers)


def led_to_keycloak(browser: Browser, page: str = "/dashboard") -> httpx.Response:
    begun = browser.http.get(f"{_API}/dashboard/sign-in", params={"next": page})
    assert begun.status_code == 303, begun.text[:500]
    asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(begun.headers["location"]).query))
    assert begun.headers["location"].startswith(f"{OPENID}/auth?")
    assert (asked["client_id"], asked["response_type"]) == ("fedproc-dashboard", "code")
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{_API}/dashboard/sign-in/back"
    return browser.http.get(begun.headers["location"])


def sign_in(browser: Browser, centre: Centre, whose: str = "FEDPROC_", page: str = "/dashboard") -> httpx.Response:
    """The page to which the dashboard leads who has signed in."""
    name, password = (centre.env[f"{whose}{field}"] for field in ("USERNAME", "PASSWORD"))
    back = browser.http.get(browser.fill_in(led_to_keycloak(browser, page), name, password))
    assert back.status_code == 303, back.text[-1500:]
    assert back.headers["location"] == page
    said = back.headers["set-cookie"].lower()
    assert f"{_COOKIE}=".lower() in said
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= set(re.split(r"[;,] *", said))
    return browser.get("api", page)


def test_a_person_signs_in_starts_an_experiment_and_signs_out(centre: Centre, browser: Browser) -> None:
    page = sign_in(browser, centre)
    assert _WELCOME in page.text
    assert "eyJ" not in page.text, "no token reaches a page"

    asked = browser.get("api", "/dashboard/new?tool=host-acceptance&host=UB&label=from+the+dashboard")
    begun = send(browser, asked, "/dashboard/new")
    assert begun.status_code == 303, begun.text[:3000]
    experiment = begun.headers["location"].rpartition("/")[2].partition("?")[0]
    centre.succeeds(experiment)
    assert "succeeded" in browser.get("api", f"/dashboard/experiments/{experiment}").text

    cookie = browser.http.cookies[_COOKIE]
    out = send(browser, browser.get("api", "/dashboard"), "/dashboard/sign-out")
    led = browser.http.get(out.headers["location"])
    assert (led.status_code, led.headers["location"]) == (302, f"{_API}/dashboard"), led.text[:1000]
    assert _WELCOME not in browser.get("api", "/dashboard").text
    browser.http.cookies.set(_COOKIE, cookie, domain=f"api.{DOMAIN}")
    assert browser.get("api", "/dashboard/experiments").status_code != 200, "what the cookie opened is gone"
    browser.http.cookies.delete(_COOKIE, domain=f"api.{DOMAIN}")
    assert 'name="password"' in led_to_keycloak(browser).text, "the session at Keycloak has ended, too"


def test_who_is_signed_in_at_keycloak_need_not_say_it_twice(centre: Centre, browser: Browser) -> None:
    sign_in(browser, centre)
    browser.http.cookies.delete(_COOKIE, domain=f"api.{DOMAIN}")
    again = led_to_keycloak(browser, "/dashboard/hosts")
    assert again.headers["location"].startswith(f"{_API}/dashboard/sign-in/back"), again.text[:500]
    assert browser.http.get(again.headers["location"]).headers["location"] == "/dashboard/hosts"


def test_an_operator_may_operate_and_a_researcher_may_not(centre: Centre) -> None:
    for whose, status in (("FEDPROC_OPERATOR_", 200), ("FEDPROC_", 403)):
        one = Browser(centre)
        sign_in(one, centre, whose)
        assert one.get("api", "/dashboard/operate").status_code == status
        one.close()


def test_a_wrong_password_signs_nobody_in(centre: Centre, browser: Browser) -> None:
    form = re.search(r'<form[^>]* action="([^"]+)"', led_to_keycloak(browser).text)
    assert form
    wrong = {"username": centre.env["FEDPROC_USERNAME"], "password": "wrong"}
    sent = browser.http.post(form[1].replace("&amp;", "&"), data=wrong)
    assert "location" not in sent.headers
    assert _COOKIE not in browser.http.cookies


def test_a_code_leads_back_to_the_dashboard_alone_and_needs_its_verifier(centre: Centre, browser: Browser) -> None:
    asked = {
        "client_id": "fedproc-dashboard", "response_type": "code", "scope": "openid", "state": "s",
        "redirect_uri": "https://elsewhere.example/dashboard/sign-in/back",
        "code_challenge": "c" * 43, "code_challenge_method": "S256",
    }  # fmt: skip
    elsewhere = browser.http.get(f"{OPENID}/auth", params=asked)
    assert (elsewhere.status_code, "location" in elsewhere.headers) == (400, False)
    bare = {name: value for name, value in asked.items() if not name.startswith("code_")}
    back = f"{_API}/dashboard/sign-in/back"
    without = browser.http.get(f"{OPENID}/auth", params={**bare, "redirect_uri": back})
    assert "error=invalid_request" in without.headers.get("location", ""), "PKCE is asked for"
    led = browser.fill_in(
        browser.http.get(f"{OPENID}/auth", params={**asked, "redirect_uri": back}),
        centre.env["FEDPROC_USERNAME"],
        centre.env["FEDPROC_PASSWORD"],
    )
    form = {"grant_type": "authorization_code", "client_id": "fedproc-dashboard", "redirect_uri": back}
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(led).query)["code"][0]
    redeemed = browser.http.post(f"{OPENID}/token", data={**form, "code": code, "code_verifier": "v" * 43})
    assert (redeemed.status_code, redeemed.json()["error"]) == (400, "invalid_grant")
    refused = browser.http.get(led)
    assert refused.status_code == 401, "nobody here has begun this sign-in"


# -- the same in a real browser


@pytest.fixture
def chromium() -> Iterator[Any]:
    yield from launched(f"--host-resolver-rules=MAP *.{DOMAIN} {GATEWAY}")


@pytest.mark.needs_browser
def test_chromium_signs_in_and_out(centre: Centre, chromium: Any) -> None:
    context = chromium.new_context(ignore_https_errors=True)  # it knows no authority but the machine's own
    page = context.new_page()
    page.set_default_timeout(90_000)
    page.goto(f"{_API}/dashboard")
    page.get_by_role("main").get_by_role("link", name="Sign in").click()
    page.locator("#username").fill(centre.env["FEDPROC_USERNAME"])
    page.locator("#password").fill(centre.env["FEDPROC_PASSWORD"])
    page.get_by_role("button", name="Sign In").click()
    page.get_by_role("heading", name=_WELCOME).wait_for()
    assert page.url == f"{_API}/dashboard"
    cookie = next(one for one in context.cookies() if one["name"] == _COOKIE)
    assert (cookie["secure"], cookie["httpOnly"]) == (True, True)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("main").get_by_role("link", name="Sign in").wait_for()
    page.get_by_role("main").get_by_role("link", name="Sign in").click()
    page.locator("#password").wait_for()
    context.close()
