"""A machine with a system that the roles do not know is refused before anything of it is changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
INSTALLING = sorted({path.parts[-3] for path in ROOT.glob("roles/*/tasks/*.yml") if "builtin.apt:" in path.read_text()})


def test_roles_that_install_packages_are_many() -> None:
    assert len(INSTALLING) > 10


@pytest.mark.parametrize("role", INSTALLING)
def test_role_that_installs_packages_looks_at_the_system_first(role: str) -> None:
    assert {"role": "supported_system"} in read_yaml(ROOT / f"roles/{role}/meta/main.yml")["dependencies"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("distribution", "version", "taken"),
    [
        ("Debian", "12", True),
        ("Debian", "13", True),
        ("Debian", "11", False),
        ("Ubuntu", "24", False),
    ],
)
def test_systems_that_are_taken(tmp_path: Path, distribution: str, version: str, taken: bool) -> None:
    facts = {"distribution": distribution, "distribution_major_version": version}
    play = {
        "hosts": "localhost", "connection": "local", "gather_facts": False,
        "tasks": [
            {"ansible.builtin.set_fact": {"ansible_facts": facts}},
            {"ansible.builtin.include_role": {"name": "ca_trust"}},
        ],
        "vars": {"ansible_facts": facts, "ansible_python_interpreter": sys.executable, "federation_domain": "x.org"},
    }  # fmt: skip
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "NO_COLOR": "1"}
    command = [Path(sys.executable).parent / "ansible-playbook", "--check", "-i", "localhost,", tmp_path / "play.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    said = " ".join(done.stdout.split())
    words = f"localhost runs {distribution} {version}; the roles install on Debian 12 and Debian 13 alone."
    assert (words in said) is not taken, done.stdout
    assert ("Set the proxies" in said) is taken, done.stdout
