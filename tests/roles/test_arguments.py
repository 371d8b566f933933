"""A key that somebody misspelt in a dictionary of the inventory is refused by its name, or the whole is handed on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from fedproc.central.settings import CentralSettings, QuotaSettings, RetentionSettings, Role, UserQuotaSettings
from fedproc.site.settings import CapacitySettings, CheckSettings, SiteSettings

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "roles"
OPEN = {
    "central_api.central_api_data_catalogue.concepts": "by a value of DICOM; the program reads its file",
    "central_api.central_api_data_catalogue.datasets": "by HOST:id; the same",
    "central_api.central_api_data_catalogue.every": "the same",
    "central_api.central_api_data_catalogue.hdab": "the same",
    "central_api.central_api_data_catalogue.publisher": "the same",
    "central_api.central_api_grants.datasets": "by HOST:id; tasks/settings.yml has the program read its file",
    "central_api.central_api_grants.hosts": "by host; the same",
    "central_api.central_api_grants.providers": "by any name; the same, and a name that none has is refused",
    "central_api.central_api_quotas": "by subject; tasks/settings.yml has the program read its file",
    "container_engine.container_engine_options": "the engine's own; refused by dockerd, or by tasks/podman_check.yml",
    "data_api.data_api_datasets": "by id; fedproc data-api --check",
    "enrolment.enrolment_fingerprints": "by host; tasks/main.yml refuses what is no host",
    "host_check.host_check_services": "by any name; each is checked",
    "keycloak_realm.keycloak_realm_providers.config": "Keycloak's own, handed on whole",
    "keycloak_realm.keycloak_realm_providers.roles": "tasks/check.yml refuses what is no role of ours",
    "orchestrator.orchestrator_datasets": "by id; fedproc site settings check",
    "orchestrator.orchestrator_kubernetes.node_selector": "by label; fedproc site settings check",
    "orchestrator.orchestrator_kubernetes.registries": "by the store's registry; the same",
    "orchestrator.orchestrator_policy": "fedproc site policy check",
    "orchestrator.orchestrator_registries": "by name; fedproc site settings check",
    "postgresql.postgresql_settings": "the server's own; postgres -C",
}
MISSPELT = [
    ("orchestrator", "orchestrator_capacity.memory", {"memory": 1}),
    ("orchestrator", "orchestrator_check.disk_reserve", {"disk_reserve": 1}),
    ("orchestrator", "orchestrator_settings.tlgo", {"tlgo": "/srv/tlog"}),
    ("central_api", "central_api_settings.release_day", {"release_day": 1}),
    ("central_api", "central_api_retention.experiment", {"experiment": 1}),
    ("central_api", "central_api_roles.operater", {"operater": ["x"]}),
    ("keycloak_realm", "keycloak_realm_users.pasword", [{"name": "a", "pasword": "x"}]),
    (
        "keycloak_realm", "keycloak_realm_providers.attributes.firstname",
        [{"alias": "a", "kind": "saml", "attributes": {"firstname": "x"}}],
    ),
    ("data_api", "data_api_tokens.isuer", {"isuer": "x"}),
    ("gateway", "gateway_aggregators.adress", [{"host": "A", "address": "x", "adress": "x"}]),
    ("monitoring", "monitoring_probes.port", [{"module": "tls", "target": "x", "port": 1}]),
    ("postgresql", "postgresql_databases.pasword", [{"name": "a", "pasword": "x"}]),
    ("certificate_authority", "certificate_authority_servers.nmes", [{"name": "a", "names": [], "nmes": []}]),
    ("container_engine", "container_engine_registries.cafile", [{"name": "a", "ca": "/a", "cafile": "x"}]),
]  # fmt: skip


def options(role: str) -> dict[str, Any]:
    entries = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]
    return {name: option for entry in entries.values() for name, option in entry.get("options", {}).items()}


def open_dictionaries(known: dict[str, Any], place: str) -> Iterator[str]:
    for name, option in known.items():
        if "options" in option:
            yield from open_dictionaries(option["options"], f"{place}.{name}")
        elif option.get("type") in ("dict", "raw") or option.get("elements") in ("dict", "raw"):
            yield f"{place}.{name}"


@pytest.mark.slow
def test_every_dictionary_of_a_role_says_its_keys_or_who_refuses_them() -> None:
    roles = sorted(path.parents[1].name for path in ROLES.glob("*/meta/argument_specs.yml"))
    assert {place for role in roles for place in open_dictionaries(options(role), role)} == set(OPEN)


@pytest.mark.slow
def test_keys_are_those_of_the_programs() -> None:
    of_host, of_centre = options("orchestrator"), options("central_api")
    assert set(of_host["orchestrator_capacity"]["options"]) == set(CapacitySettings.model_fields)
    assert set(of_host["orchestrator_check"]["options"]) == set(CheckSettings.model_fields)
    assert set(of_centre["central_api_roles"]["options"]) == set(get_args(Role))
    assert set(of_centre["central_api_retention"]["options"]) == set(RetentionSettings.model_fields)
    host = (ROLES / "orchestrator/templates/host.toml.j2").read_text()
    whole = {name for either in re.findall(r"^\[?(\w+)(?: =|\])|'(\w+)':", host, re.M) for name in either}
    assert set(of_host["orchestrator_settings"]["options"]) == set(SiteSettings.model_fields) - whole
    template = (ROLES / "central_api/templates/central.toml.j2").read_text()
    found = re.findall(r"^\[?(\w+)(?: =|\])|'(\w+)': central_api_", template, re.M)
    written = {name for either in found for name in either}
    assert set(of_centre["central_api_settings"]["options"]) == set(CentralSettings.model_fields) - written
    quota = set(of_centre["central_api_quota"]["options"])
    assert quota == set(QuotaSettings.model_fields) == set(UserQuotaSettings.model_fields)


def task_of(role: str, file: str, name: str) -> dict[str, Any]:
    tasks = yaml.safe_load((ROLES / role / "tasks" / file).read_text())
    return dict(next(task for task in tasks if task["name"] == name))


Play = Callable[[list[dict[str, Any]], dict[str, Any], list[Path]], list[dict[str, Any]]]


@pytest.fixture
def played(tmp_path: Path) -> Play:
    """Plays tasks on this machine, whether they fail or not; returns what each says."""

    def play(tasks: list[dict[str, Any]], variables: dict[str, Any], files: list[Path]) -> list[dict[str, Any]]:
        written = [
            each
            for number, task in enumerate(tasks)
            for each in (
                task | {"register": "said", "ignore_errors": True},
                {"ansible.builtin.copy": {"content": "{{ said | to_json }}", "dest": f"{tmp_path}/said-{number}"}},
            )
        ]
        of_files = {name: value for file in files for name, value in yaml.safe_load(file.read_text()).items()}
        whole = {
            "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": written,
            "vars": {"ansible_python_interpreter": sys.executable, **of_files, **variables},
        }  # fmt: skip
        (tmp_path / "play.yml").write_text(json.dumps([whole]))
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "NO_COLOR": "1"}
        command = [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", tmp_path / "play.yml"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads((tmp_path / f"said-{number}").read_text()) for number in range(len(tasks))]

    return play


@pytest.mark.process
def test_a_misspelt_key_is_refused_by_its_name(played: Play) -> None:
    named = [(role, key.partition(".")[0], value) for role, key, value in MISSPELT]
    tasks = [
        {
            "ansible.builtin.validate_argument_spec": {
                "argument_spec": {name: options(role)[name]},
                "provided_arguments": {name: value},
            }
        }
        for role, name, value in named
    ]
    for (_, key, _), said in zip(MISSPELT, played(tasks, {}, []), strict=True):
        assert said["failed"], key
        assert f"{key}. Supported parameters include: " in said["msg"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"enrolment_fingerprints": {"UBB": "aa"}, "enrolment_hosts": ["UB"]}, "given for UBB"),
        ({"fingerprint": "aa", "enrolment_hosts": ["UB"]}, "given for no host"),
        ({"fingerprint": "aa", "host": "UB,BSC"}, "given for UB,BSC"),
        ({"fingerprint": "aa", "host": "UB"}, ""),
    ],
)
def test_a_fingerprint_of_no_host_is_refused(played: Play, given: dict[str, Any], said: str) -> None:
    task = task_of("enrolment", "main.yml", "Every fingerprint is of a host that there is")
    files = [ROLES / "enrolment/defaults/main.yml", ROLES / "enrolment/vars/main.yml"]
    (told,) = played([task], {"federation_secrets": "/s", **given}, files)
    assert told["failed"] is bool(said)
    assert said in told["msg"] if said else True


@pytest.mark.process
def test_settings_that_podman_does_not_know_are_refused(played: Play) -> None:
    task = task_of("container_engine", "podman_check.yml", "It knows what it is told")
    line = (
        'level=debug msg="Failed to decode the keys [\\"containers.init_path\\" \\"containers.http_prxy\\" '
        '\\"netwrk\\" \\"netwrk.a\\"] from \\"/etc/containers/containers.conf.d/50-fedproc.conf\\"."\n'
        'level=debug msg="Failed to decode the keys [\\"engine.theirs\\"] from \\"/etc/containers/theirs.conf\\"."'
    )
    files = [ROLES / "container_engine/defaults/main.yml", ROLES / "container_engine/vars/main.yml"]
    wanted = {"containers": {"http_prxy": False, "pids_limit": 1}, "netwrk": {"a": 1}, "engine": {"theirs": 1}}
    variables = {"container_engine_options": wanted, "_container_engine_podman_info": {"stderr": line}}
    (told,) = played([task], variables, files)
    assert told["failed"]
    assert "containers.http_prxy, netwrk, netwrk.a, which" in told["msg"]
    (told,) = played([task], {**variables, "container_engine_options": {"containers": {"pids_limit": 1}}}, files)
    assert not told["failed"]


POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


@pytest.mark.process
@pytest.mark.skipif(not POSTGRESQL, reason="no PostgreSQL is installed")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shared_bufers": "2GB"}, 'unrecognized configuration parameter "shared_bufers"'),
        ({"max_connections": "many"}, 'invalid value for parameter "max_connections"'),
        ({"max_connections": 200, "log_line_prefix": "it's %m "}, ""),
    ],
)
def test_settings_that_the_database_does_not_know_are_refused(
    played: Play, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    version = POSTGRESQL[-1].parts[-3]
    folder = tmp_path / "main" / "conf.d"
    folder.mkdir(parents=True)
    task = task_of("postgresql", "main.yml", "Set what is asked for")
    task["ansible.builtin.template"] |= {"src": str(ROLES / "postgresql/templates/fedproc.conf.j2")}
    task["vars"] |= {"_postgresql_folder": str(tmp_path / "main")}
    task.pop("notify")
    task["ansible.builtin.template"].pop("owner")
    versions = {"matched": 1, "files": [{"path": f"/etc/postgresql/{version}"}]}
    (told,) = played([task], {"postgresql_settings": settings, "_postgresql_versions": versions}, [])
    assert told.get("failed", False) is bool(said)
    assert said in json.dumps(told).replace('\\"', '"')
    assert (folder / "fedproc.conf").exists() is not bool(said)
