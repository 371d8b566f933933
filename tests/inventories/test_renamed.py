"""Variables of roles that have another name since: an inventory that still sets one is refused, with the new name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
TABLE: dict[str, Any] = read_yaml(ROOT / "roles/inventory_check/vars/main.yml")
ROLES: dict[str, str] = TABLE["_inventory_check_renamed_roles"]
VARIABLES: dict[str, str] = TABLE["_inventory_check_renamed"]
INVENTORY = """
all:
  vars: {federation_domain: federation.example.org, ansible_host: 127.0.0.1, ansible_port: 1}
  children:
    central: {hosts: {centre: {}}}
    sites: {hosts: {UB: {}, BSC: {}}}
"""
SITE = ["onboard_host.yml", "--limit", "UB"]
TOOLS = ["deploy_tools.yml", "--limit", "UB"]
CODE = ["enroll_host.yml", "-e", "host=UB", "--tags", "code"]


def played(folder: Path, *arguments: str) -> str:
    """What the playbook says, which failed in its first play, before any host was touched."""
    (folder / "hosts.yml").write_text(INVENTORY)
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "NO_COLOR": "1"}
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", folder / "hosts.yml", *arguments]
    played = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT / "ansible/playbooks"
    )
    said = re.sub(r"\s+", " ", played.stdout + played.stderr)
    assert played.returncode != 0
    assert (said.count("PLAY ["), "UNREACHABLE" in said) == (1, False)
    return said


def variables_of(role: str) -> set[str]:
    specs = read_yaml(ROOT / f"roles/{role}/meta/argument_specs.yml")["argument_specs"]
    return {option for entry in specs.values() for option in entry["options"]}


NEWER = {"fedproc_package_restart", "fedproc_package_units"}
"""that the roles had by no other name"""


def test_every_variable_has_its_new_name_in_the_table() -> None:
    assert set(VARIABLES.values()) == {variable for role in ROLES.values() for variable in variables_of(role)} - NEWER
    assert len(set(VARIABLES.values())) == len(VARIABLES)


@pytest.mark.parametrize("old", VARIABLES)
def test_old_name_is_of_the_role_that_was_renamed(old: str) -> None:
    role = next(role for role in ROLES if old.startswith(f"{role}_"))
    assert VARIABLES[old] in variables_of(ROLES[role])


def test_no_role_has_variables_that_begin_like_an_old_one() -> None:
    names = {path.parent.name for path in ROOT.glob("roles/*/tasks")}
    assert {name for name in names for old in ROLES if name == old or name.startswith(f"{old}_")} == set()


@pytest.mark.process
@pytest.mark.parametrize("playbook", [["central.yml"], SITE, TOOLS, CODE], ids=lambda playbook: str(playbook[0]))
def test_old_name_on_the_command_line_stops_the_playbook(tmp_path: Path, playbook: list[str]) -> None:
    said = played(tmp_path, *playbook, "-e", "toolbox_bundle=tools.tar")
    assert "toolbox_bundle is now tool_prefetch_archive" in said


@pytest.mark.process
@pytest.mark.parametrize("place", ["group_vars/all.yml", "group_vars/sites.yml", "host_vars/BSC.yml"])
def test_old_names_in_the_inventory_are_all_told(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir()
    (tmp_path / place).write_text("program_folder: /opt/ours\nprogram_version: 1.2.3\nauthority_days: 10\n")
    said = played(tmp_path, *SITE)
    assert "program_folder is now fedproc_package_folder" in said
    assert "authority_days is now certificate_authority_days" in said
    assert "program_version is no variable of fedproc_package" in said
    assert f"grep -rnwE 'authority_days|program_folder|program_version' {tmp_path}" in said
