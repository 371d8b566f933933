"""Secrets are rotated as docs/operations/central.md says, and experiments go on."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.federation.centre import Centre
from tests.federation.machines import SITES, Machine, play, played, secret

from fedproc.client.api import Client
from fedproc.common.errors import FedprocError
from fedproc.demo.containers import FOLDER, GATEWAY, ROOT
from fedproc.demo.data import COHORT_PARAMETERS
from fedproc.demo.polling import wait_until

pytestmark = pytest.mark.timeout(7200)  # several playbooks each

DATA = [f"{host}:breast-cohort" for host in ("UB", "BSC", "FORTH")]
KEYS = "/etc/fedproc/keys"


def works(centre: Centre) -> None:
    """All three hospitals and the aggregator, once a restart is over."""
    wait_until(centre.healthy, 300, "the centre does not come back", pause=1)
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


def shown(centre: Centre, authority: str | None = None) -> str:
    """The sum of the certificate that the gateway shows, of the authority at hand or of the given one."""
    trusted = ssl.create_default_context(cafile=None if authority else centre.ca, cadata=authority)
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


@contextmanager
def another(name: str) -> Iterator[str]:
    """The secret of that name is another for as long as this lasts, for the playbooks alone."""
    path = FOLDER / "secrets" / name
    before = path.read_text()
    now = secrets.token_urlsafe(18).replace("-", "x").replace("_", "y")
    path.write_text(f"{now}\n")
    try:
        yield now
    finally:
        path.write_text(before)


def signs_in(centre: Centre, password: str) -> bool:
    client = Client(centre.url, username="operator", password=password, ca_file=centre.ca)
    try:
        client.hosts()
    except FedprocError as error:
        assert error.message == "not signed in: user name or password is wrong"
        return False
    finally:
        client.close()
    return True


def test_the_operators_password(centre: Centre) -> None:
    before = secret("operator")
    with another("operator") as now:
        played("central.yml", "--tags", "realm")
        assert signs_in(centre, now)
        assert not signs_in(centre, before)
    played("central.yml", "--tags", "realm")
    assert signs_in(centre, before)
    assert not signs_in(centre, now)


def opens_database(machine: Machine, password: str) -> bool:
    shell = "read -r PGPASSWORD; export PGPASSWORD; psql -qAt -h 127.0.0.1 -U keycloak -c 'select 1' keycloak"
    return machine.try_run("sh", "-c", shell, given=f"{password}\n").stdout.strip() == "1"


def test_the_password_of_keycloaks_database(centre: Centre, machine: Machine) -> None:
    before = secret("keycloak-database")
    tags = ("--tags", "database,keycloak")
    with another("keycloak-database") as now:
        played("central.yml", *tags)
        assert opens_database(machine, now)
        assert not opens_database(machine, before)
        assert signs_in(centre, secret("operator"))
    played("central.yml", *tags)
    works(centre)


def test_the_password_of_keycloaks_administrator(centre: Centre) -> None:
    before = secret("keycloak-admin")

    def known(password: str) -> tuple[str, ...]:
        """Options that say which password Keycloak has now."""
        return "--tags", "realm", "-e", json.dumps({"federation_keycloak_admin_password_before": password})

    with another("keycloak-admin") as now:
        played("central.yml", *known(before))
        try:
            played("central.yml", "--tags", "realm")
            played("central.yml", "--tags", "realm", "--check")
        finally:
            (FOLDER / "secrets/keycloak-admin").write_text(before)
            refused = play("central.yml", "--tags", "realm")
            looked = play("central.yml", "--check", *known(now))
            played("central.yml", *known(now))
    assert refused.returncode != 0
    assert "set the one that Keycloak has now as the one before" in " ".join(refused.stdout.split())
    assert looked.returncode == 0, looked.stdout[-3000:]
    works(centre)


def test_the_catalogues_key(centre: Centre, ub: Machine, tmp_path: Path) -> None:
    """A tool of its own is signed by the next key: what is published stays, and the others are to go on."""
    tool = tmp_path / "signed_by_the_next"
    shutil.copytree(ROOT / "tool_catalog/host_acceptance", tool)
    manifest = tool / "tool.yaml"
    manifest.write_text(manifest.read_text().replace("id: host-acceptance\n", "id: signed-by-the-next\n"))
    coming = {
        "tool_catalog_key": str(FOLDER / "secrets/catalogue-next.key"),
        "tool_catalog_public_key": str(FOLDER / "files/catalogue-next.pub"),
        "central_api_catalogue_keys": [str(FOLDER / f"files/{name}.pub") for name in ("catalogue", "catalogue-next")],
        "tool_catalog_folders": [str(tool)],
    }
    played("central.yml", "--tags", "catalogue,api", "-e", json.dumps(coming))

    admitted = {"orchestrator_policy": {"tools": [{"id": "signed-by-the-next"}], "release": {"report": "automatic"}}}
    install = ("onboard_host.yml", "--tags", "install", "--limit", "UB")
    played(*install, "-e", json.dumps(admitted))
    centre.wait_until_accepting("UB")
    refused = centre.wait_until_ended(centre.run("signed-by-the-next", ["UB"]))
    assert "key" in (refused.jobs[0].reason or ""), refused.jobs[0]

    ub.run("tee", f"{KEYS}/catalogue-next.pub", given=(FOLDER / "files/catalogue-next.pub").read_text())
    played(*install, "-e", json.dumps(admitted))
    centre.wait_until_accepting("UB")
    centre.succeeds(centre.run("signed-by-the-next", ["UB"]))

    ub.run("rm", f"{KEYS}/catalogue-next.pub")
    played(*install)
    played("central.yml", "--tags", "api")
    works(centre)


def test_the_authority(centre: Centre, machine: Machine) -> None:
    before = sums(
        machine, "/etc/fedproc/authority/ca.crt", "/etc/fedproc/tls/gateway.crt", "/etc/fedproc/tls/broker.crt"
    )
    shown_before = shown(centre)
    machine.run("sh", "-c", "cd /etc/fedproc && rm -rf old && mkdir -m 700 old && mv authority/ca.* tls old/")
    played("central.yml", "--tags", "authority")
    assert shown_before == shown(centre, machine.run("cat", "/etc/fedproc/old/tls/ca.crt"))

    coming = (FOLDER / "files/ca.pem").read_text()
    for site in map(Machine, SITES):
        site.run("tee", "-a", "/etc/fedproc/ca.crt", given=coming)
        site.run("systemctl", "restart", "fedproc-orchestrator")
    played("central.yml")
    centre.connect()
    assert shown(centre) != shown_before
    assert not set(before) & set(sums(machine, "/etc/fedproc/authority/ca.crt", "/etc/rabbitmq/tls/broker.crt"))
    centre.wait_until_accepting(*SITES)
    works(centre)

    waits = json.dumps({"orchestrator_enrolment_required": False})
    for site in map(Machine, SITES):
        site.run("rm", "/etc/fedproc/host.crt")
    played("enroll_host.yml", "--tags", "code")
    played("onboard_host.yml", "--tags", "enrol", "-e", waits)
    played("enroll_host.yml", "--tags", "confirm")
    played("onboard_host.yml", "--tags", "enrol,install")
    for site in map(Machine, SITES):
        assert site.run("cat", "/etc/fedproc/ca.crt").strip() == coming.strip()
    centre.wait_until_accepting(*SITES)
    works(centre)
    data = [f"{host}:wisconsin" for host in ("UB", "BSC")]
    centre.succeeds(centre.run("flower-logistic", datasets=data, rounds=3))
