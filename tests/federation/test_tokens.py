"""What a host's token opens, and for how long."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Iterator

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from tests.federation.centre import Centre
from tests.federation.machines import Machine, secret

from fedproc.demo.polling import wait_until

SHORT = 40
LEEWAY = 7.0
"""seconds: the API's own, and a little for the clock"""


def api_says(centre: Centre, token: str) -> int:
    trusted = ssl.create_default_context(cafile=centre.ca)
    answer = httpx.get(
        f"{centre.url}/hosts/UB/acceptance", headers={"Authorization": f"Bearer {token}"}, verify=trusted, timeout=30
    )
    return answer.status_code


def test_a_hosts_token_opens_its_own_queues_and_key_alone(centre: Centre, ub: Machine) -> None:
    token = ub.probe("token")["token"]
    assert api_says(centre, token) == 200
    said = ub.probe(
        "broker",
        user="host-UB",
        token=token,
        consume=["control.UB", "jobs.BSC", "control.BSC", "events.BSC", "events.UB", "dead"],
        publish=[["events", "host.UB.heartbeat"], ["events", "host.BSC.heartbeat"], ["jobs", "BSC"], ["control", "BSC"],
                 ["", "jobs.BSC"]],
        declare=["jobs.UB", "mine"],
    )  # fmt: skip
    assert said.pop("connected")
    opened = {what for what, how in said.items() if how == "ok"}
    assert opened == {"consume control.UB", "publish events host.UB.heartbeat"}
    assert all("refused" in how.lower() for what, how in said.items() if what not in opened), said


def test_a_token_of_another_issuer_is_refused(centre: Centre, ub: Machine) -> None:
    key = RSAKey.generate_key(2048, {"kid": "foreign"})
    claims = {
        "iss": "https://elsewhere.example/realms/fedproc", "aud": ["fedproc-api", "rabbitmq"], "azp": "host-UB",
        "sub": "x", "exp": int(time.time()) + 300, "iat": int(time.time()), "fedproc_host": "UB",
        "rabbitmq_scope": "rabbitmq.read:*/jobs.UB/* rabbitmq.write:*/events/host.UB.*",
    }  # fmt: skip
    foreign = jwt.encode({"alg": "RS256", "kid": "foreign", "typ": "JWT"}, claims, key)
    assert api_says(centre, foreign) == 401
    assert ub.probe("broker", user="host-UB", token=foreign)["connected"] is False


@pytest.fixture
def short_lived(machine: Machine, ub: Machine) -> Iterator[None]:
    """UB's tokens are good for SHORT seconds."""
    given = {"client": "host-UB", "password": secret("keycloak-admin")}
    machine.probe("lifespan", **given, seconds=str(SHORT))
    ub.run("systemctl", "restart", "fedproc-orchestrator")
    yield
    machine.probe("lifespan", **given, seconds="")
    ub.run("systemctl", "restart", "fedproc-orchestrator")


def expiry(token: str) -> float:
    """When it ends, as it says itself, in seconds since 1970."""
    part = token.split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["exp"])


def renewals(ub: Machine) -> int:
    return ub.log().count("broker.token_renewed")


def connection_of(machine: Machine) -> str:
    listed = machine.run("rabbitmqctl", "--quiet", "list_connections", "user", "pid")
    return next((line for line in listed.splitlines() if line.startswith("host-UB\t")), "")


@pytest.mark.usefixtures("short_lived")
def test_an_expired_token_is_refused_and_the_orchestrator_renews_in_time(
    centre: Centre, machine: Machine, ub: Machine
) -> None:
    centre.wait_until_accepting("UB")
    token = ub.probe("token")["token"]
    wait_until(lambda: bool(connection_of(machine)), 30, "UB has no connection", pause=1)
    before, renewed = connection_of(machine), renewals(ub)
    assert ub.probe("broker", user="host-UB", token=token)["connected"] is True
    wait_until(lambda: time.time() > expiry(token) + LEEWAY, 2 * SHORT, "its end is further away", pause=1)
    assert renewals(ub) > renewed
    assert api_says(centre, token) == 401
    assert ub.probe("broker", user="host-UB", token=token)["connected"] is False
    assert connection_of(machine) == before, "the connection was made anew"
    centre.succeeds(centre.run("host-acceptance", hosts=["UB"]))
