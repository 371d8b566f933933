"""What holds for every role: its README is the one of its variables, and a scenario checks how it behaves."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROLES = sorted(p.parent.parent for p in ROOT.glob("roles/*/tasks/main.yml"))


@pytest.mark.process
def test_every_readme_is_what_make_docs_would_write() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "scripts/role_readme.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.parametrize("role", ROLES, ids=lambda r: r.name)
def test_every_role_tells_its_variables(role: Path) -> None:
    assert (role / "meta/argument_specs.yml").exists()


@pytest.mark.parametrize("scenario", sorted(ROOT.glob("roles/*/molecule/*")), ids=lambda s: s.parts[-3])
def test_every_scenario_verifies_something(scenario: Path) -> None:
    # Molecule itself passes a scenario that has nothing to verify.
    assert (scenario / "verify.yml").exists()
