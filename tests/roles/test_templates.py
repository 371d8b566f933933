"""What the roles write of dictionaries: every key and every legal text arrives, read by the program that it is for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedproc.common.errors import InvalidInputError
from fedproc.site import settings as site_settings
from fedproc.site.data_api import settings as data_api_settings
from fedproc.site.executors.layout import CONNECT_SOURCE
from fedproc.site.policy import policy_file

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "roles"
HARD = "quote \" and ' \\ backslash \\n no newline, \ttab, \x7f delete, ß … 🏥 {{ '{{' }}"
"""as a variable of Ansible; :data:`READ` is what it holds"""
READ = HARD.replace("{{ '{{' }}", "{{")
LINE = {
    "parameters": {"min_cell": [10], "group": ["", "grade"]},
    "id": "km", "digest": "sha256:" + "a" * 64, "users": ["alice", "o'\"brien"], "received_code": True,
    "connections": [{"task": "server", "max_mb": 100, "max_rounds": 40}], "release": {"model": "never"},
    "any_version": True, "without_review": ["report"],
    "secure_sums": True, "differential_privacy": {"epsilon": 2.0, "delta": 1e-05},
}  # fmt: skip
POLICY = {
    "users": ["*"], "purposes": [HARD], "logs": True, "minimum_count": 10, "maximum": {"cpus": 1.5, "gpus": 0},
    "release": {"report": "automatic"}, "tools": [LINE, {"id": "open"}],
}  # fmt: skip
DATASETS = {
    "breast.cohort-1_a": {"path": "/srv/a b/ü", "version": "2024-05-01", "description": HARD},
    "plain": {"path": "/srv/plain"},
    "pacs": {
        "source": "dicomweb",
        "url": "https://pacs.x.org/dicom-web",
        "query": {"Modality": "CT"},
        "access": {"user_file": "/etc/fedproc/pacs"},
        "fetching": {"hours": "20:00-06:00", "store": "/srv/fetched"},
    },
}
FEDERATION = {
    "federation_secrets": "/s", "federation_files": "/f", "federation_api_name": "api.x.org",
    "federation_auth_name": "auth.x.org", "federation_broker_name": "broker.x.org",
    "federation_store_name": "store.x.org",
    "_central_api_trusted": {"stat": {"checksum": "aa"}},
    "_orchestrator_keys": {"files": [{"path": "/k/dispatch.pub"}, {"path": "/k/catalogue.pub"}]},
}  # fmt: skip
Case = tuple[str, str, dict[str, Any]]
CASES: dict[str, Case] = {
    "policy": ("orchestrator", "policy.toml.j2", {"orchestrator_policy": POLICY}),
    "no-policy": ("orchestrator", "policy.toml.j2", {}),
    "policy-key": (
        "orchestrator", "policy.toml.j2", {"orchestrator_policy": {"tools": [{"id": "km", "user": ["alice"]}]}},
    ),
    "policy-connection": (
        "orchestrator", "policy.toml.j2",
        {"orchestrator_policy": {"tools": [{"id": "km", "connections": [{"task": "s", "max_mb": 1, "rounds": 2}]}]}},
    ),
    "policy-table": ("orchestrator", "policy.toml.j2", {"orchestrator_policy": {"maximun": {"cpus": 1}}}),
    "policy-no-table": ("orchestrator", "policy.toml.j2", {"orchestrator_policy": {"tools": ["km"]}}),
    "host": (
        "orchestrator", "host.toml.j2",
        {
            "orchestrator_host": "UB", "orchestrator_datasets": DATASETS,
            "orchestrator_capacity": {"cpus": 2.5, "gpus": ["GPU-1"]}, "orchestrator_check": {"profile": "d6.1-cpu"},
            "orchestrator_pip_arguments": ["--index-url", HARD],
            "orchestrator_registries": {"ghcr.io": "mirror.x.org:5000"}, "orchestrator_prefer_images": True,
            "orchestrator_settings": {"tlog": "/srv/a log", "keep_job_folders": True}, "orchestrator_store_keep_mb": 7,
            "orchestrator_reviewers_group": "fedproc-reviewers", "orchestrator_mail_password": HARD,
            "orchestrator_notify": {"mail": {"server": "mail.x", "sender": "a@x.org", "to": ["b@x.org"]}},
        },
    ),
    "host-key": (
        "orchestrator", "host.toml.j2", {"orchestrator_host": "UB", "orchestrator_datasets": {"a.b": {"pth": "/a"}}},
    ),
    "host-several": (
        "orchestrator", "host.toml.j2", {"orchestrator_host": "UB", "orchestrator_executors": ["sandbox", "podman"]},
    ),
    "unit": (
        "orchestrator", "fedproc-orchestrator.service.j2",
        {
            "orchestrator_settings": {"tlog": "/srv/a log 100%", "journal": "/var/lib/fedproc/journal"},
            "orchestrator_datasets": {
                **DATASETS, "c": {"path": "/home/anna/c"}, "d": {"path": "/home/d/d", "links": "/home/d/links"},
                "a": {"path": "/data/a", "links": "/data/links"}, "b": {"path": "/mnt/b", "links": "/srv/links"},
            },
            "orchestrator_executor": "slurm", "orchestrator_slurm": {"folder": "/home/fedproc/slurm"},
            "ansible_facts": {"virtualization_tech_guest": []},
        },
    ),
    "unit-podman": (
        "orchestrator", "fedproc-orchestrator.service.j2",
        {
            "orchestrator_host": "UB", "orchestrator_executor": "podman",
            "orchestrator_docker_socket": "unix:///run/user/990/podman/podman.sock",
            "ansible_facts": {"virtualization_tech_guest": []},
        },
    ),
    "unit-rootless": (
        "orchestrator", "fedproc-orchestrator.service.j2",
        {
            "orchestrator_host": "UB", "orchestrator_executor": "podman", "orchestrator_podman_rootless": True,
            "ansible_facts": {"virtualization_tech_guest": [], "getent_passwd": {"fedproc": ["x", "990", "985"]}},
        },
    ),
    "unit-docker": (
        "orchestrator", "fedproc-orchestrator.service.j2",
        {"orchestrator_host": "UB", "ansible_facts": {"virtualization_tech_guest": []}},
    ),
    "runner": ("orchestrator", "runner.toml.j2", {"orchestrator_datasets": {**DATASETS, "odd": {"pth": "/a"}}}),
    "data-api": (
        "data_api", "data-api.toml.j2",
        {
            "data_api_datasets": {"a.b": DATASETS["plain"]}, "data_api_listen_port": 8443,
            "data_api_certificate": "/c", "data_api_key": "/k", "data_api_secret_file": "/s", "data_api_floor": 7,
            "data_api_tokens": {"issuer": "https://auth.x.org", "audience": "host-UB", "keys_file": "/keys"},
        },
    ),
    "data-api-socket": ("data_api", "data-api.toml.j2", {}),
    "central": (
        "central_api", "central.toml.j2",
        {
            "central_api_settings": {"release_days": 7, "acceptance_tool": HARD},
            "central_api_roles": {"researcher": [HARD], "operator": []},
            "central_api_retention": {"events": 30, "audit": 0},
            "central_api_grants": {
                "providers": {"eucaim": {"kind": "negotiator", "url": "https://n.test", "ask_at": HARD}},
                "datasets": {"UB:a.b": {"provider": "eucaim"}},
            },
        },
    ),
    "podman": (
        "container_engine", "containers.conf.j2",
        {"container_engine_options": {"containers": {"env": [HARD], "log.driver": "x"}, "network": {"a": {"b": 1}}}},
    ),
    "registries": ("container_engine", "registries.conf.j2", {"container_engine_mirrors": ["https://" + HARD]}),
}  # fmt: skip


def task(case: str, folder: Path) -> dict[str, Any]:
    role, template, variables = CASES[case]
    written = {"src": str(ROLES / role / "templates" / template), "dest": str(folder / case)}
    return {"ansible.builtin.template": written, "vars": variables, "ignore_errors": True}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a case; all are written in one run, with the roles' defaults and nothing that is undefined."""
    folder = tmp_path_factory.mktemp("written")
    files = [ROLES / role / place / "main.yml" for role, _, _ in CASES.values() for place in ("defaults", "vars")]
    play = {
        "hosts": "localhost", "connection": "local", "gather_facts": False,
        "vars": FEDERATION | {"ansible_python_interpreter": sys.executable},
        "vars_files": [str(file) for file in dict.fromkeys(files)], "tasks": [task(case, folder) for case in CASES],
    }  # fmt: skip
    (folder / "play.yml").write_text(json.dumps([play]))
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "NO_COLOR": "1"}
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", folder / "play.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    print(done.stdout, done.stderr)
    return lambda case: folder / case


def refused(load: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(InvalidInputError) as caught:
        load(path)
    return caught.value.message


def test_a_line_of_the_policy_arrives_whole(written):
    policy = policy_file.load(written("policy"))
    assert json.loads(policy.tools[0].model_dump_json()) == LINE
    assert policy.tools[1].digest == "*"
    assert policy.purposes == (READ,)
    assert (policy.maximum.cpus, policy.maximum.gpus, policy.minimum_count, policy.logs) == (1.5, 0, 10, True)


def test_a_site_without_a_policy_admits_nothing(written):
    assert policy_file.load(written("no-policy")).tools == ()


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("policy-key", "tools no. 1 (km).user: there is no such key; did you mean users?"),
        ("policy-connection", "tools no. 1 (km).connections no. 1 (s).rounds: there is no such key"),
        ("policy-table", "maximun: there is no such key; did you mean maximum?"),
        ("policy-no-table", "tools no. 1: "),
    ],
)
def test_a_misspelt_key_of_the_policy_is_refused_by_its_name(written, case, said):
    assert said in refused(policy_file.load, written(case))


def test_a_unit_may_write_what_the_settings_name_and_sees_no_other_homes(written):
    lines = written("unit").read_text().splitlines()
    folders = '"/data" "/home/d" "/home/fedproc/slurm" "/srv/a log 100%%" "/srv/fetched" "/srv/links"'
    assert f'ReadWritePaths="/var/lib/fedproc" {folders}' in lines
    assert [line for line in lines if "Home" in line or "Bind" in line] == [
        "ProtectHome=tmpfs", 'BindPaths="/home/d"', 'BindPaths="/home/fedproc/slurm"',
        'BindReadOnlyPaths="-/home/anna/c"',
    ]  # fmt: skip
    assert "InaccessiblePaths=-/run/docker.sock -/run/containerd -/run/podman" in lines


def test_a_unit_reaches_the_engine_of_an_ordinary_user(written):
    lines = written("unit-podman").read_text().splitlines()
    assert [line for line in lines if line.startswith(("ReadWrite", "Bind", "ProtectHome", "Inaccessible"))] == [
        'ReadWritePaths="/var/lib/fedproc"', "ProtectHome=tmpfs", 'BindPaths="/run/user/990/podman"',
    ]  # fmt: skip


def test_unit_has_the_services_of_its_podmans_user_run_again_whenever_they_end(written):
    lines = written("unit-rootless").read_text().splitlines()
    assert [line for line in lines if "user@" in line] == ["After=user@990.service", "Upholds=user@990.service"]
    assert [line for line in lines if line.startswith(("Bind", "ProtectHome"))] == ["ProtectHome=yes"]


@pytest.mark.parametrize(
    ("case", "more"), [("unit", ""), ("unit-rootless", ""), ("unit-docker", " CAP_CHOWN CAP_SYS_PTRACE")]
)
def test_unit_may_give_folders_away_and_look_into_processes_with_roots_engine_alone(written, case: str, more: str):
    """With Slurm jobs are the orchestrator's own user's, and so in that user's own Podman."""
    lines = written(case).read_text().splitlines()
    assert f"AmbientCapabilities=CAP_DAC_OVERRIDE CAP_FOWNER{more}" in lines
    assert f"CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_FOWNER{more}" in lines


def test_settings_of_a_host_arrive_whole(written):
    settings = site_settings.load(written("host"))
    found = {name: given.model_dump(mode="json", exclude_defaults=True) for name, given in settings.datasets.items()}
    assert found == {**DATASETS, "breast.cohort-1_a": {**DATASETS["breast.cohort-1_a"], "description": READ}}
    assert (settings.capacity.cpus, settings.capacity.gpus) == (2.5, ("GPU-1",))
    assert settings.dataset_reread_days == 30
    assert (settings.tlog, settings.keep_job_folders) == (Path("/srv/a log"), True)
    assert settings.store is not None
    assert settings.store.keep_mb == 7
    assert settings.docker.registries == {"ghcr.io": "mirror.x.org:5000"}
    assert settings.docker.socket == "unix:///var/run/docker.sock"
    assert settings.check.profile == "d6.1-cpu"
    assert settings.notify.mail is not None
    assert str(settings.notify.mail.password_file) == "/etc/fedproc/mail-password"
    assert (settings.reviewers_group, settings.notify.webhook) == ("fedproc-reviewers", None)
    assert (settings.sandbox.pip_arguments, settings.sandbox.prefer_images) == (("--index-url", READ), True)
    assert [key.name for key in settings.centre.dispatch_keys] == ["dispatch.pub"]


def test_host_of_several_executors_names_them_in_their_order(written):
    settings = site_settings.load(written("host-several"))
    assert settings.executors == ("sandbox", "podman")
    assert settings.podman.socket == "unix:///run/podman/podman.sock"
    assert site_settings.load(written("host")).executors == ("docker",)


def test_a_misspelt_key_of_a_dataset_is_refused_by_its_name(written):
    assert "datasets.a.b.pth: there is no such key; did you mean path?" in refused(
        site_settings.load, written("host-key")
    )


def test_settings_of_a_data_api_arrive_whole(written):
    settings = data_api_settings.load(written("data-api"))
    assert (settings.listen_port, settings.floor, str(settings.datasets["a.b"].path)) == (8443, 7, "/srv/plain")
    assert settings.tokens is not None
    assert settings.tokens.audience == "host-UB"
    assert str(data_api_settings.load(written("data-api-socket")).socket) == "/run/fedproc-data/api.sock"


def test_the_runner_shows_what_datasets_name(written):
    assert tomllib.loads(written("runner").read_text())["show"][2:] == ["/srv/a b/ü", "/srv/plain", "/srv/fetched"]


def test_the_runner_shows_the_inside_end_of_connections(written):
    """Programs know their own files by the folder of their release, not by the link in their unit."""
    shown = tomllib.loads(written("runner").read_text())["show"]
    shim = Path("/opt/fedproc/releases/0123-docker/lib/python3.13/site-packages/fedproc", CONNECT_SOURCE.name)
    assert any(shim.is_relative_to(folder) for folder in shown)


def test_settings_of_the_centre_arrive_whole(written):
    found = tomllib.loads(written("central").read_text())
    assert (found["release_days"], found["acceptance_tool"]) == (7, READ)
    assert found["issuer"]["roles"] == {"researcher": [READ], "operator": []}
    assert found["issuer"]["url"] == "https://auth.x.org/realms/fedproc"
    assert found["retention"] == {"events": 30, "audit": 0}
    assert found["grants"]["providers"]["eucaim"]["ask_at"] == READ
    assert found["grants"]["datasets"] == {"UB:a.b": {"provider": "eucaim"}}


def test_settings_of_podman_arrive_whole(written):
    found = tomllib.loads(written("podman").read_text())
    assert found["containers"]["env"] == [READ]
    assert found["containers"]["log.driver"] == "x"
    assert found["network"] == {"a": {"b": 1}}
    assert tomllib.loads(written("registries").read_text())["registry"][0]["mirror"][0]["location"] == READ
