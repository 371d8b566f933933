"""The gateway's configuration in a real nginx: with every domain that the inventory's check takes, and long tokens."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import httpx
import pytest
from tests.support.central_api import Federation, problem
from tests.support.gateway import Gateway
from tests.support.issuer import TestIssuer

pytestmark = [pytest.mark.process, pytest.mark.server]

LONGEST = ".".join([*("a" * 63 for _ in range(2)), "federation", "example", "org"])
"""as long as check_inventory.yml takes it"""


def names(domain: str) -> dict[str, str]:
    of_services = {f"gateway_{name}_name": f"{name}.{domain}" for name in ("api", "auth", "broker")}
    return {**of_services, "gateway_jobs_domain": domain}


@pytest.fixture(scope="module", params=["x.org", "the-hospitals-of-all-of-our-federation.example.org", LONGEST])
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "centre").mkdir()
    with (
        TestIssuer() as issuer,
        Federation(f"sqlite:///{folder}/central.db", folder / "centre", issuer) as federation,
        Gateway(folder, federation, **names(request.param)) as running,
    ):
        yield running


def asked(gateway: Gateway, path: str, token: str) -> httpx.Response:
    trust = ssl.create_default_context(cafile=str(gateway.keys.ca_file))
    with httpx.Client(base_url=gateway.url, verify=trust, trust_env=False) as client:
        return client.get(path, headers={"Host": "api.x.org", "Authorization": f"Bearer {token}"})


def test_nginx_starts_whatever_the_length_of_the_domain(gateway: Gateway) -> None:
    token = gateway.federation.issuer.token("rosa", "researcher")
    assert asked(gateway, "/experiments", token).status_code == 200


def test_token_that_the_api_takes_passes(gateway: Gateway) -> None:
    """Up to 16 KiB: a person of many groups has such a one."""
    groups = ["urn:geant:example.org:group:" + "a" * 60] * 120
    token = gateway.federation.issuer.token("rosa", "researcher", eduperson_entitlement=groups)
    assert 14_000 < len(token) <= 16_384
    assert asked(gateway, "/experiments", token).status_code == 200


def test_longer_token_is_answered_by_the_api(gateway: Gateway) -> None:
    problem(asked(gateway, "/experiments", "a" * 20_000), 401, "invalid_token")
