"""What holds for every role: its README is the one of its variables, and a scenario checks how it behaves."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.yaml_files import read_yaml

from fedproc.contract.api.enrolments import CODE_HOURS

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


@pytest.mark.process
def test_a_change_is_tried_by_default_scenarios_alone() -> None:
    """Second ones, as of a cluster, take long: make molecule runs all."""
    script = (ROOT / "scripts/molecule").read_text()
    parts = re.findall(r"^(?:scenarios\(\) .*|changed_since\(\) \{\n(?:.*\n)*?\})$", script, re.MULTILINE)
    files = "roles/rabbitmq/tasks/main.yml\\nroles/gateway/README.md\\ndocs/wire.md\\n"
    program = "\n".join([f"git() {{ printf '{files}'; }}", *parts, "changed_since main"])
    ran = subprocess.run(["bash", "-euc", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, ["rabbitmq"], "")


def test_single_use_code_is_good_for_as_long_wherever_it_is_told() -> None:
    hours = f"{CODE_HOURS:g}"
    assert read_yaml(ROOT / "roles/enrolment/defaults/main.yml")["enrolment_code_hours"] == CODE_HOURS
    told = [
        line
        for page in ("docs/operations/central.md", "docs/operations/site.md")
        for line in (ROOT / page).read_text().splitlines()
        if "code" in line and re.search(r"\d+ hours", line)
    ]
    assert len(told) == 3
    assert [line for line in told if f"{hours} hours" not in line] == []


def test_a_browser_is_led_back_to_the_dashboards_own_address_alone() -> None:
    told = read_yaml(ROOT / "roles/keycloak_realm/vars/main/main.yml")
    clients = [one for value in told.values() if isinstance(value, list) for one in value if isinstance(one, dict)]
    dashboard = next(one for one in clients if one.get("client_id") == "fedproc-dashboard")
    addresses = [*dashboard["redirects"], dashboard["attributes"]["post.logout.redirect.uris"]]
    assert [address.partition("}}")[2] for address in addresses] == ["/dashboard/sign-in/back", "/dashboard"]
