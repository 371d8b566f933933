"""What an executor that the settings name needs here, and what is missing, each with its cure."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fedproc.onboarding.model.facts import Engine, ExecutorFacts, ExecutorNeeds, Facts
from fedproc.onboarding.model.report import Verdict
from fedproc.onboarding.model.targets import ExecutorTarget, from_settings
from fedproc.onboarding.probes import cgroup, engine, executors
from fedproc.onboarding.rules import Requirement, evaluate

ALL = {"sbatch", "squeue", "scontrol", "scancel", "newuidmap", "crun", "tini-static", "zstd", "/usr/bin/apptainer"}
V2 = ("v2", ("cpu", "memory", "pids"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A machine that has all; a test takes something away."""
    has: dict[str, Any] = {
        "programs": set(ALL),
        "groups": V2,
        "bubblewrap": Engine("bubblewrap", "0.8.0", "usable", "makes a sandbox", True),
        "silent": "",
        "answers": {
            "ping": (0, "Slurmctld(primary) at head is UP"),
            "show": (0, "PartitionName=main"),
            "version": (0, "1.4.5"),
        },
        "ids": 65536,
    }

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        code, text = next(answer for word, answer in has["answers"].items() if word in command)
        return subprocess.CompletedProcess(command, code, text, "")

    monkeypatch.setattr(executors.shutil, "which", lambda name: name if name in has["programs"] else None)
    monkeypatch.setattr(cgroup, "controllers", lambda: has["groups"])
    monkeypatch.setattr(engine, "bubblewrap", lambda: has["bubblewrap"])
    monkeypatch.setattr(engine, "why_silent", lambda _path: has["silent"])
    monkeypatch.setattr(engine, "run", run)
    monkeypatch.setattr(executors, "_subordinates", lambda *_: has["ids"])
    return has


def needs(name: str, **told: Any) -> ExecutorNeeds:
    (found,) = executors.probe((ExecutorTarget(name, **told),)).executors
    return found


def test_machine_that_has_all_lacks_nothing(machine: dict[str, Any], tmp_path: Path) -> None:
    assert needs("sandbox").missing == ()
    assert needs("docker", socket=Path("/var/run/docker.sock")).missing == ()
    assert needs("podman", socket=tmp_path / "podman.sock").missing == ()
    assert needs("slurm", folder=tmp_path, partition="main").missing == ()
    assert needs("apptainer").missing == ()


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("sandbox", {"bubblewrap": None}, "apt-get install bubblewrap"),
        ("sandbox", {"bubblewrap": Engine("bubblewrap", "0.8", "broken", "cannot", True)}, "allow user namespaces"),
        ("sandbox", {"groups": ("v1", ("cpu",))}, "without memory, pids: enable them"),
        ("docker", {"silent": "[Errno 2] No such file"}, "systemctl start docker"),
        ("podman", {"silent": "refused"}, "systemctl --user enable --now podman.socket"),
        ("podman", {"ids": 1000}, "fewer than 65536 ids: usermod --add-subuids"),
        ("podman", {"programs": ALL - {"newuidmap"}}, "apt-get install uidmap"),
        ("apptainer", {"programs": ALL - {"/usr/bin/apptainer"}}, "container_engine_kind: apptainer"),
        ("apptainer", {"answers": {"version": (255, "")}}, "/usr/bin/apptainer does not answer"),
        ("apptainer", {"bubblewrap": None}, "apt-get install bubblewrap"),
        ("slurm", {"programs": ALL - {"sbatch"}}, "sbatch is not installed: apt-get install slurm-client"),
        ("slurm", {"answers": {"ping": (1, "DOWN"), "show": (0, "")}}, "slurmctld does not answer (DOWN)"),
        ("slurm", {"answers": {"ping": (0, "is UP"), "show": (1, "")}}, "has no partition main: see sinfo"),
    ],
)
def test_what_is_missing_is_said_with_its_cure(
    machine: dict[str, Any], tmp_path: Path, name: str, change: dict[str, Any], says: str
) -> None:
    machine |= change
    told: dict[str, Any] = {"socket": tmp_path / "engine.sock", "folder": tmp_path, "partition": "main"}
    found = needs(name, **told)
    assert any(says in text for text in found.missing), found


@pytest.mark.usefixtures("machine")
def test_folder_that_the_nodes_share_has_to_be_there(tmp_path: Path) -> None:
    assert "make it where the nodes see it" in needs("slurm", folder=tmp_path / "none").missing[0]
    assert "slurm.folder is not given" in needs("slurm").note


def test_kubernetes_needs_an_account_and_a_server_that_answers(tmp_path: Path) -> None:
    assert "kubernetes.kubeconfig" in needs("kubernetes", folder=tmp_path).missing[0]
    kubeconfig = tmp_path / "kubeconfig"
    assert "install -m 600" in needs("kubernetes", kubeconfig=kubeconfig, folder=tmp_path).missing[0]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for text in (f"clusters:\n- cluster:\n    server: {server}\n", f'{{"clusters": [{{"server":"{server}"}}]}}'):
            kubeconfig.write_text(text)
            kubeconfig.chmod(0o600)
            found = needs("kubernetes", kubeconfig=kubeconfig, folder=tmp_path)
            assert (found.missing, found.note) == ((), "")
        kubeconfig.chmod(0o644)
        assert "chmod 600" in needs("kubernetes", kubeconfig=kubeconfig).missing[0]
    kubeconfig.chmod(0o600)
    assert "does not answer" in needs("kubernetes", kubeconfig=kubeconfig).missing[0]
    kubeconfig.write_text("server: http://127.0.0.1:99999999\n")
    assert "does not answer" in needs("kubernetes", kubeconfig=kubeconfig).missing[0]
    kubeconfig.write_text("none")
    assert "it is no kubeconfig" in needs("kubernetes", kubeconfig=kubeconfig).missing[0]
    assert "kubernetes.folder is not given" in needs("kubernetes", kubeconfig=kubeconfig).note


def test_what_an_ordinary_users_engine_does_without_is_a_note(machine: dict[str, Any], tmp_path: Path) -> None:
    machine["programs"].discard("tini-static")
    found = needs("podman", socket=tmp_path / "podman.sock")
    assert found.missing == ()
    assert "apt-get install tini" in found.note
    assert "whoever may use its socket is root here" in needs("podman", socket=Path("/run/podman/podman.sock")).needs


def test_ids_of_a_user_are_added_up_by_name_and_number(tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("anna:100000:65536\n1000:300000:100\nb:1:2\nanna:x\nanna:1:many\n")
    assert executors._subordinates(tmp_path / "subuid", "anna", 1000) == 65636
    assert executors._subordinates(tmp_path / "none", "anna", 1000) == 0


@pytest.mark.parametrize(
    ("line", "names"),
    [("", ["sandbox"]), ('executor = "slurm"', ["slurm"]), ('executor = ["sandbox", "podman"]', ["sandbox", "podman"])],
)
def test_settings_say_which_executors_are_looked_at(tmp_path: Path, line: str, names: list[str]) -> None:
    (tmp_path / "host.toml").write_text(f'{line}\n[podman]\nsocket = "unix:///run/user/7/p.sock"\n')
    found = from_settings(tmp_path / "host.toml").executors
    assert [one.name for one in found] == names
    assert {one.socket for one in found if one.name == "podman"} <= {Path("/run/user/7/p.sock")}


def test_each_executor_is_a_line_that_fails_by_what_is_missing() -> None:
    facts = Facts(executor=ExecutorFacts((ExecutorNeeds("sandbox", "x"), ExecutorNeeds("slurm", "y", ("z: do it",)))))
    lines = evaluate((Requirement("executor.needs", "ours", minimum=True),), facts, ("executor",))
    assert [(one.verdict, one.cure) for one in lines] == [(Verdict.RECOMMENDED, ""), (Verdict.FAILS, "z: do it")]
    assert "executor slurm" in lines[1].requirement
    assert os.linesep not in lines[1].measured
