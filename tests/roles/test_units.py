"""How far the units of programs that face the network are confined, by systemd's own measure (0 is best, 10 worst)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import jinja2
import pytest

ROLES = Path(__file__).parents[2] / "roles"
INSTALLED = Path("/lib/systemd/system")
UNITS: dict[str, tuple[str, str | None, str | None, float]] = {
    "nginx": ("gateway", None, "files/nginx.service.conf", 4.0),
    "rabbitmq-server": ("rabbitmq", None, "files/rabbitmq-server.service.conf", 3.0),
    "keycloak": ("keycloak", "templates/keycloak.service.j2", None, 2.5),
    "fedproc-api": ("central_api", "templates/unit.service.j2", None, 2.0),
    "fedproc-orchestrator": ("orchestrator", "templates/fedproc-orchestrator.service.j2", None, 2.8),
    "fedproc-data-api": ("data_api", "templates/fedproc-data-api.service.j2", None, 2.0),
}
"""by unit: the role, its template (Debian's own unit if there is none), what the role adds, and the most exposure"""
VALUES = {
    "ansible_managed": "a test", "keycloak_java_options": "", "keycloak_heap_mb": 512,
    "_keycloak_home": "/opt/keycloak",
    "item": {"name": "api", "description": "API"}, "central_api_files": "/var/lib/fedproc/files",
    "_central_api_keys": ["api", "dispatch"], "_central_api_tlog": "/var/lib/fedproc/tlog",
    "orchestrator_host": "UB", "_orchestrator_has_engine": False, "_orchestrator_rootless": False,
    "_orchestrator_capabilities": ["CAP_DAC_OVERRIDE", "CAP_FOWNER"], "orchestrator_datasets": {},
    "orchestrator_reviewers_group": "fedproc-reviewers",
    "_orchestrator_written": ["/srv/a log"], "_orchestrator_home_written": [], "_orchestrator_home_read": [],
    "data_api_listen_port": 8443, "data_api_tokens": {},
}  # fmt: skip
needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def rendered(path: Path) -> str:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["comment"] = lambda text: f"# {text}"
    environment.filters["unit_path"] = lambda path, prefix="": f'"{prefix}{path}"'
    return environment.from_string(path.read_text()).render(**VALUES)


def exposure(root: Path, unit: str) -> float:
    command = ["systemd-analyze", "security", "--no-pager", "--offline=yes", f"--root={root}", unit]
    said = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)
    assert found, said.stdout + said.stderr
    return float(found[1])


@pytest.mark.process
@needs_analyze
@pytest.mark.parametrize("name", UNITS)
def test_unit_is_confined(tmp_path: Path, name: str) -> None:
    role, template, added, most = UNITS[name]
    units = tmp_path / "etc/systemd/system"
    (units / f"{name}.service.d").mkdir(parents=True)
    if template is None:
        if not (INSTALLED / f"{name}.service").exists():
            pytest.skip(f"{name} is not installed")
        shutil.copy(INSTALLED / f"{name}.service", units)
        before = exposure(tmp_path, f"{name}.service")
    else:
        (units / f"{name}.service").write_text(rendered(ROLES / role / template))
        before = 10.0
    if added is not None:
        shutil.copy(ROLES / role / added, units / f"{name}.service.d/fedproc.conf")
    found = exposure(tmp_path, f"{name}.service")
    print(f"{name}: {found} (before: {before})")
    assert found <= most
    assert found < before


@pytest.mark.parametrize(
    "template", sorted(ROLES.glob("*/templates/*.j2")), ids=lambda path: str(path.relative_to(ROLES))
)
def test_a_path_of_the_inventory_is_one_word_of_a_unit(template: Path) -> None:
    """Names with blanks or ``%`` are legal, and a unit takes them apart."""
    lines = [line for line in template.read_text().splitlines() if re.match(r"(Read|Bind|Inaccessible)\w*=", line)]
    assert [line for line in lines if re.search(r"\{\{ [a-z](?!.*unit_path)", line.replace("/{{ key }}", ""))] == []
