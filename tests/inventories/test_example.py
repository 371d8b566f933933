"""The example inventory: complete once its placeholders are filled, and refused as long as one is not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "inventories/example"
RECIPIENT = "age1" + "q" * 58
FILLED = (
    ("CHANGE-age1...", RECIPIENT),
    ("CHANGE-admin", "admin"),
    ("CHANGE.example.org", "example.org"),
)
BIN = Path(sys.executable).parent


def ansible(command: str, inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "NO_COLOR": "1"}
    return subprocess.run(
        [BIN / command, "-i", inventory / "hosts.yml", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=ROOT,
    )


def checked(inventory: Path) -> subprocess.CompletedProcess[str]:
    wheels = inventory / "wheelhouse.tar"
    wheels.touch()
    playbook = str(ROOT / "ansible/playbooks/check_inventory.yml")
    return ansible("ansible-playbook", inventory, playbook, "-e", f"federation_wheelhouse={wheels}")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return shutil.copytree(EXAMPLE, tmp_path / "ours")


@pytest.fixture
def filled(copied: Path) -> Path:
    for path in copied.rglob("*.yml"):
        text = path.read_text()
        for placeholder, value in FILLED:
            text = text.replace(placeholder, value)
        path.write_text(re.sub(r"CHANGE-me-(\d)", r"a-long-secret-\1", text))
    return copied


@pytest.mark.process
def test_ansible_reads_it_and_the_machines_are_in_their_groups() -> None:
    listed = ansible("ansible-inventory", EXAMPLE, "--list")
    assert listed.returncode == 0, listed.stderr
    found: dict[str, Any] = json.loads(listed.stdout)
    assert found["central"]["hosts"] == ["centre"]
    assert set(found["sites"]["children"]) == {"aggregators", "data_hosts", "compute_hosts"}
    assert {"UB", "CLINIC_A", "CLINIC_B"} == set(found["data_hosts"]["hosts"])


@pytest.mark.process
def test_filled_it_passes_the_check(filled: Path) -> None:
    lines = [line for path in filled.rglob("*.yml") for line in path.read_text().splitlines()]
    assert [line for line in lines if "CHANGE" in line.partition("#")[0]] == []
    done = checked(filled)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("file", "value", "placeholder", "said"),
    [
        (
            "hosts.yml",
            "centre.example.org",
            "centre.CHANGE.example.org",
            "ansible_host of centre is still the example's",
        ),
        ("group_vars/all/federation.yml", "federation_domain: ", "federation_domain: CHANGE.", "Set federation_domain"),
        ("group_vars/all/federation.yml", RECIPIENT, "CHANGE-age1...", "Set federation_backup_recipients"),
        *(
            (
                "group_vars/all/vault.yml",
                f"{name}: a-long-secret",
                f"{name}: CHANGE-me",
                name.replace("vault", "federation"),
            )
            for name in ("vault_keycloak_database_password", "vault_keycloak_admin_password", "vault_operator_password")
        ),
    ],
)
def test_a_placeholder_that_is_left_is_named_with_its_cure(
    filled: Path, file: str, value: str, placeholder: str, said: str
) -> None:
    text = (filled / file).read_text()
    assert value in text
    (filled / file).write_text(text.replace(value, placeholder))
    done = checked(filled)
    assert done.returncode != 0
    assert said in done.stdout
    assert "a-long-secret" not in done.stdout


@pytest.mark.process
def test_as_it_is_it_is_refused(copied: Path) -> None:
    done = checked(copied)
    assert done.returncode != 0
    assert "federation_domain" in done.stdout


def commented(path: Path) -> set[str]:
    """Variables of a file that have no comment above or beside them, nor above the paragraph that they stand in."""
    bare: set[str] = set()
    explained = False
    for line in path.read_text().splitlines():
        if not line.strip():
            explained = False
        elif line.lstrip().startswith("#"):
            explained = True
        elif (found := re.match(r"([a-z_]+):", line)) and not explained and "#" not in line:
            bare.add(found[1])
    return bare


@pytest.mark.parametrize("path", sorted(EXAMPLE.rglob("*_vars/**/*.yml")), ids=lambda path: str(path.name))
def test_what_stands_in_it_is_explained(path: Path) -> None:
    assert commented(path) == set()


def test_every_variable_of_the_playbooks_is_in_it() -> None:
    """federation_* variables that roles and playbooks read without a default of their own."""
    text = "".join(path.read_text() for path in EXAMPLE.rglob("*.yml"))
    sources = [
        *ROOT.glob("roles/*/defaults/*.yml"),
        *ROOT.glob("roles/*/tasks/*.yml"),
        *ROOT.glob("ansible/playbooks/*.yml"),
    ]
    read = {name for path in sources for name in re.findall(r"\bfederation_[a-z_]+", path.read_text())}
    assert {name for name in read if name not in text} == set()


def test_variables_of_roles_in_it_exist() -> None:
    roles = {path.parent.parent.name: path for path in ROOT.glob("roles/*/meta/argument_specs.yml")}
    known = {
        option
        for path in roles.values()
        for entry in read_yaml(path)["argument_specs"].values()
        for option in entry.get("options", {})
    }
    set_here = set()
    for path in [*EXAMPLE.rglob("group_vars/**/*.yml"), *EXAMPLE.rglob("host_vars/*.yml")]:
        set_here |= set(re.findall(r"^(?:# )?([a-z_]+):", path.read_text(), re.M))
    of_roles = {name for name in set_here if any(name.startswith(f"{role}_") for role in roles)}
    assert of_roles - known == set()


@pytest.mark.process
@pytest.mark.parametrize(
    ("domain", "taken"),
    [
        ("a" * 63 + "." + "b" * 63 + ".federation.example.org", True),
        ("a" * 64 + ".org", False),
        ("a." * 80 + "org", False),
    ],
)
def test_domain_is_as_long_as_names_can_be(filled: Path, domain: str, taken: bool) -> None:
    file = filled / "group_vars/all/federation.yml"
    file.write_text(re.sub(r"(?m)^federation_domain: .*$", f"federation_domain: {domain}", file.read_text()))
    done = checked(filled)
    assert (done.returncode == 0) is taken, done.stdout
    assert ("characters, and may have 150" in re.sub(r"\s+", " ", done.stdout)) is not taken
