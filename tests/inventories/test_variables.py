"""What would have no effect, or that no orchestrator would take, is refused before any machine is touched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.inventories.test_example import ROOT, ansible, checked
from tests.inventories.test_example import copied as copied  # noqa: PLC0414 (fixtures)
from tests.inventories.test_example import filled as filled  # noqa: PLC0414

pytestmark = pytest.mark.process

INVENTORY = {
    "all": {
        "vars": {"federation_domain": "federation.example.org", "ansible_host": "127.0.0.1", "ansible_port": 1},
        "children": {"central": {"hosts": {"centre": {}}}, "sites": {"hosts": {"UB": {}, "BSC": {}}}},
    }
}


def played(folder: Path, *arguments: str) -> str:
    """What a playbook of a site says, which failed in its first play, before any host was touched."""
    (folder / "hosts.yml").write_text(yaml.safe_dump(INVENTORY))
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "NO_COLOR": "1"}
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", folder / "hosts.yml", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT / "ansible/playbooks"
    )
    assert done.returncode != 0
    assert done.stdout.count("PLAY [") == 1, done.stdout
    assert "UNREACHABLE" not in done.stdout
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


def test_a_misspelt_variable_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/UB.yml").write_text("orchestrator_polcy: {}\nkeycloak_realm_user: []\nours: 1\n")
    said = played(tmp_path, "onboard_host.yml", "--limit", "UB", "-e", "gateway_agregators=[]")
    assert "orchestrator_polcy is no variable of the role orchestrator: did you mean orchestrator_policy?" in said
    assert "keycloak_realm_user is no variable of the role keycloak_realm: did you mean keycloak_realm_users?" in said
    assert "gateway_agregators is no variable of the role gateway: did you mean gateway_aggregators?" in said
    assert f"grep -rnwE 'gateway_agregators|keycloak_realm_user|orchestrator_polcy' {tmp_path}" in said
    assert "ours" not in said.partition("grep")[0]


def test_a_policy_that_no_orchestrator_would_take_is_refused(tmp_path: Path) -> None:
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/UB.yml").write_text("orchestrator_policy: {tools: [{id: km, user: [alice]}]}\n")
    (tmp_path / "host_vars/BSC.yml").write_text("orchestrator_policy: {minimum_cuont: 1}\n")
    said = played(tmp_path, "onboard_host.yml", "--limit", "UB")
    assert "orchestrator_policy of UB: tools no. 1 (km).user: there is no such key; did you mean users?" in said
    assert "minimum_cuont" not in said


def test_dataset_with_an_id_that_no_host_would_take_is_refused(tmp_path: Path) -> None:
    (tmp_path / "host_vars").mkdir()
    legal = "{a.b-c_d: {path: /a}, 2024.1: {path: /b}"
    (tmp_path / "host_vars/UB.yml").write_text(f"orchestrator_datasets: {legal}, Breast: {{path: /c}}}}\n")
    (tmp_path / "host_vars/BSC.yml").write_text(f"orchestrator_datasets: {legal}}}\n")
    said = played(tmp_path, "onboard_host.yml")
    assert "orchestrator_datasets of UB has Breast, which is no dataset's id" in said
    assert "of BSC has" not in said


def test_the_centre_is_told_of_every_site(filled: Path) -> None:
    (filled / "host_vars/CLINIC_B.yml").write_text("orchestrator_policy: {release: {agregate: never}}\n")
    done = checked(filled)
    assert done.returncode != 0
    assert "orchestrator_policy of CLINIC_B: release.agregate: " in re.sub(r"\s+", " ", done.stdout)


def test_a_dataset_that_no_orchestrator_would_take_is_refused(filled: Path) -> None:
    given = "orchestrator_datasets: {ct: {source: dicomweb, url: 'https://pacs.x'}}"
    (filled / "host_vars/CLINIC_B.yml").write_text(f"{given}\n")
    done = checked(filled)
    said = re.sub(r"\s+", " ", done.stdout)
    assert done.returncode != 0
    assert "orchestrator_datasets of CLINIC_B: datasets.ct: give one of query, studies and series" in said


FAULTS = {
    "a kind of provider": ("central", "central_api_grants: {providers: {e: {kind: negotiatr}}}", "providers.e: "),
    "a provider": ("central", "central_api_grants: {hosts: {UB: eucaim}}", "providers has no eucaim: name one of them"),
    "a provider's key": (
        "central",
        "central_api_grants: {providers: {e: {kind: negotiator, url: 'https://n.x', ask: me}}}",
        "negotiator.ask: there is no such key",
    ),
    "a number": ("central", "central_api_port: many", "central_api_port"),
    "a setting": ("sites", "orchestrator_settings: {tlgo: /srv/tlog}", "tlgo"),
    "a setting's kind": ("sites", "orchestrator_store_keep_mb: much", "orchestrator_store_keep_mb"),
    "a key of the realm": ("central", "keycloak_realm_providers: [{alias: a, kind: oidcc}]", "oidcc"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_value_that_no_program_would_take_is_refused(filled: Path, fault: str) -> None:
    group, text, says = FAULTS[fault]
    (filled / f"group_vars/{group}.yml").open("a").write(f"\n{text}\n")
    done = checked(filled)
    said = re.sub(r"\s+", " ", done.stdout)
    assert done.returncode != 0, said
    assert says in said
    assert "UNREACHABLE" not in said


def test_the_inventory_of_containers_is_taken() -> None:
    playbook, local = ROOT / "ansible/playbooks/check_variables.yml", "ansible_connection=local"
    done = ansible("ansible-playbook", ROOT / "inventories/containers", str(playbook), "-e", local)  # without docker
    assert done.returncode == 0, done.stdout + done.stderr
    assert "UNREACHABLE" not in done.stdout
