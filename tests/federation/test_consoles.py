"""Who sees the consoles of broker and identity provider."""

from __future__ import annotations

import pytest
from tests.federation.browser import Browser
from tests.federation.centre import Centre
from tests.federation.machines import Machine

from fedproc.demo.containers import DOMAIN

_CLIENT = "fedproc-broker-console"
_ASK = """import httpx, ssl, sys
trusted = ssl.create_default_context(cafile="/etc/fedproc/ca.crt")
print(httpx.get(sys.argv[1], verify=trusted).status_code)"""
_BACK = f"https://api.{DOMAIN}/broker/js/oidc-oauth/login-callback.html"


def signed_in(browser: Browser, centre: Centre, whose: str) -> str:
    """An access token for the console."""
    name, password = (centre.env[f"{whose}{field}"] for field in ("USERNAME", "PASSWORD"))
    return str(browser.sign_in(_CLIENT, _BACK, name, password)["access_token"])


def test_an_operator_sees_the_brokers_queues_but_no_message(centre: Centre, browser: Browser) -> None:
    assert "RabbitMQ" in browser.get("api", "/broker/").text
    token = signed_in(browser, centre, "FEDPROC_OPERATOR_")
    seen = browser.get("api", "/broker/api/queues", token)
    assert {"jobs.UB", "control.BSC"} <= {queue["name"] for queue in seen.json()}
    assert browser.get("api", "/broker/api/whoami", token).json()["tags"] == ["monitoring"]
    take = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
    assert browser.post("api", "/broker/api/queues/%2F/jobs.UB/get", token, take).status_code == 401


def test_a_researcher_sees_nothing_of_the_broker(centre: Centre, browser: Browser) -> None:
    token = signed_in(browser, centre, "FEDPROC_")
    assert browser.get("api", "/broker/api/queues", token).status_code == 401


@pytest.mark.parametrize("name, path", [("api", "/broker/"), ("auth", "/admin/master/console/")])
def test_a_host_reaches_no_console(browser: Browser, ub: Machine, name: str, path: str) -> None:
    assert browser.get(name, path).status_code == 200
    url = f"https://{name}.{DOMAIN}{path}"
    assert ub.run("/opt/fedproc/current/bin/python", "-c", _ASK, url).strip() == "403"
