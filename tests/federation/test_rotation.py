"""Secrets are rotated as docs/operations/central.md says, and experiments go on."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl

import pytest
from tests.federation.conftest import Centre
from tests.federation.machines import Machine, played

from fedproc.demo.containers import FOLDER, GATEWAY
from fedproc.demo.data import COHORT_PARAMETERS
from fedproc.demo.waiting import wait_until

SITES = ("EUCAIM", "UB", "BSC", "FORTH", "CESGA")
DATA = [f"{host}:breast-cohort" for host in ("UB", "BSC", "FORTH")]
KEYS = "/etc/fedproc/keys"


def works(centre: Centre) -> None:
    """All three hospitals and the aggregator, once a restart is over."""
    wait_until(centre.healthy, 60, "the centre does not come back", pause=1)
    centre.succeeds(centre.run("cohort-statistics", datasets=DATA, **COHORT_PARAMETERS))


def sums(machine: Machine, *paths: str) -> list[str]:
    return [line.split()[0] for line in machine.run("sha256sum", *paths).splitlines()]


@pytest.mark.parametrize("program", ["api", "relay"])
def test_a_clients_key(centre: Centre, machine: Machine, program: str) -> None:
    before = sums(machine, f"{KEYS}/{program}.key")
    machine.run("rm", f"{KEYS}/{program}.key", f"{KEYS}/{program}.pub")
    played("central.yml", "--tags", "api,realm")
    machine.run("systemctl", "restart", f"fedproc-{program}")
    assert sums(machine, f"{KEYS}/{program}.key") != before
    works(centre)


def shown(centre: Centre) -> str:
    trusted = ssl.create_default_context(cafile=centre.ca)
    with (
        socket.create_connection((GATEWAY, 443), 10) as bare,
        trusted.wrap_socket(bare, server_hostname=f"api.{centre.env['FEDPROC_DOMAIN']}") as secured,
    ):
        return hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()


def test_the_gateways_certificate(centre: Centre, machine: Machine) -> None:
    before = shown(centre)
    machine.run("rm", "/etc/fedproc/tls/gateway.key", "/etc/fedproc/tls/gateway.crt")
    played("central.yml", "--tags", "authority,gateway,broker")
    assert shown(centre) != before
    works(centre)


def test_a_hosts_key(centre: Centre, ub: Machine) -> None:
    before = sums(ub, "/etc/fedproc/host.key", "/etc/fedproc/host.crt")
    ub.run("rm", "/etc/fedproc/host.key", "/etc/fedproc/host.crt")
    played("enroll_host.yml", "--tags", "code", "-e", "host=UB")
    waits = json.dumps({"orchestrator_enrolment_required": False})
    played("onboard_host.yml", "--tags", "enrol", "--limit", "UB", "-e", waits)
    played("enroll_host.yml", "--tags", "confirm", "-e", "host=UB")
    played("onboard_host.yml", "--tags", "enrol,install", "--limit", "UB")
    assert not set(before) & set(sums(ub, "/etc/fedproc/host.key", "/etc/fedproc/host.crt"))
    centre.wait_until_accepting("UB")
    works(centre)


def test_the_dispatch_key(centre: Centre, machine: Machine) -> None:
    coming = {"central_api_next_keys": ["dispatch-next"]}
    played("central.yml", "--tags", "api", "-e", json.dumps(coming))
    key = (FOLDER / "files/dispatch-next.pub").read_text()
    for site in SITES:
        Machine(site).run("tee", f"{KEYS}/dispatch-next.pub", given=key)
    played("onboard_host.yml", "--tags", "install")
    played("central.yml", "--tags", "api", "-e", json.dumps({"central_api_dispatch_key": "dispatch-next"}))
    assert 'dispatch-next.key"' in machine.run("cat", "/etc/fedproc/central.toml")
    works(centre)
    # The hosts trust both as yet, so the first may sign again: what the inventory says.
    played("central.yml", "--tags", "api")
    works(centre)
    for site in SITES:
        Machine(site).run("rm", f"{KEYS}/dispatch-next.pub")
    played("onboard_host.yml", "--tags", "install")
    works(centre)
