"""What the gateway's nginx does with an address that asks too much; Debian's nginx with the role's template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.support.central_api import Federation
from tests.support.gateway import Gateway
from tests.support.issuer import TestIssuer
from tests.support.needs import needs
from tests.support.running import ROOT
from tests.support.yaml_files import read_yaml

RATE, BURST = 2, 6
NAMES = ("api.fedproc.test", "auth.fedproc.test")

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
@needs("process")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "centre").mkdir()
    low = {"gateway_api_rate": RATE, "gateway_api_burst": BURST, "gateway_auth_rate": RATE, "gateway_auth_burst": BURST}
    with TestIssuer() as issuer:
        with Federation(f"sqlite:///{folder}/central.db", folder / "centre", issuer) as federation:
            with Gateway(folder, federation, gateway_address_requests=50, **low) as running:
                yield running


def ask(gateway: Gateway, name: str, path: str) -> httpx.Response:
    with httpx.Client(verify=False, trust_env=False, timeout=60) as client:
        url = f"https://127.0.0.1:{gateway.port}{path}"
        return client.get(url, headers={"Host": name}, extensions={"sni_hostname": name})


@pytest.mark.parametrize(("name", "path"), [(NAMES[0], "/tools"), (NAMES[1], "/realms/fedproc/x")])
def test_an_address_that_asks_far_too_fast_is_refused_with_a_problem(gateway: Gateway, name: str, path: str) -> None:
    many = 3 * BURST
    with ThreadPoolExecutor(many) as pool:
        answers = list(pool.map(lambda _: ask(gateway, name, path), range(many)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert many - BURST - 4 <= len(refused) <= many - BURST, "what is within the burst is kept waiting, and passes"
    for answer in refused:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "10"
        assert "max-age" in answer.headers["strict-transport-security"]
        said: dict[str, Any] = json.loads(answer.text)
        assert (said["status"], said["code"], said["title"]) == (429, "rate.address", "Too Many Requests")
        assert f"more than {RATE} requests a second" in said["detail"]
        assert f"raises gateway_{name.partition('.')[0]}_rate" in said["detail"]


def test_who_sends_one_request_after_the_other_waits_and_is_never_refused(gateway: Gateway) -> None:
    assert {ask(gateway, NAMES[0], "/tools").status_code for _ in range(BURST + 3)} == {401}


def test_a_hospital_behind_one_address_finds_room() -> None:
    usual = read_yaml(ROOT / "roles/gateway/defaults/main.yml")
    assert usual["gateway_api_rate"] >= 100
    assert usual["gateway_api_burst"] >= 10 * usual["gateway_api_rate"]
    assert usual["gateway_address_requests"] >= 100
