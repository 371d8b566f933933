"""What an engine is asked for depends on which engine it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedproc.site.executors.base import WORK, Limits, Port, Spec
from fedproc.site.executors.confinement.etc import UID, USER, write_accounts
from fedproc.site.executors.docker.creation import creation_of
from fedproc.site.executors.docker.dialect import Dialect, speaks_podman
from fedproc.site.executors.docker.executor import PYTHON
from fedproc.site.executors.layout import layout_for

DOCKER = {"Components": [{"Name": "Engine", "Version": "26.1.5"}, {"Name": "containerd", "Version": "1.7.24"}]}
PODMAN = {"Components": [{"Name": "Podman Engine", "Version": "5.4.2"}, {"Name": "Conmon"}, {"Name": "OCI Runtime"}]}


@pytest.mark.parametrize(
    ("version", "podman"), [(DOCKER, False), (PODMAN, True), ({}, False), ({"Components": None}, False)]
)
def test_an_engine_says_whether_it_is_podman(version: dict[str, Any], podman: bool) -> None:
    assert speaks_podman(version) is podman


def made(dialect: Dialect) -> dict[str, Any]:
    limits = Limits(cpus=1, memory=96_000_000, disk=20_000_000, pids=24, log=1_000_000)
    spec = Spec(job="j-1", command=("true",), workspace=Path("/w"), limits=limits, environment={}, runtime="image")
    host = creation_of(spec, layout_for(spec), "host=1", dialect)["HostConfig"]
    assert isinstance(host, dict)
    return host


def test_docker_is_given_the_filter_of_system_calls_itself() -> None:
    host = made(Dialect())
    options = dict(option.split("=", 1) for option in host["SecurityOpt"] if "=" in option)
    assert json.loads(options["seccomp"])["syscalls"]
    assert host["LogConfig"]["Type"] == "local"


def test_podman_is_given_a_file_with_the_filter() -> None:
    host = made(Dialect(seccomp="/state/seccomp.json", log_driver="k8s-file"))
    assert host["SecurityOpt"] == ["no-new-privileges", "seccomp=/state/seccomp.json"]
    assert host["LogConfig"]["Type"] == "k8s-file"


def test_user_of_a_job_is_somebody_in_any_image(tmp_path: Path) -> None:
    files = write_accounts(tmp_path)
    assert [place for _, place in files] == ["/etc/passwd", "/etc/group"]
    entry = files[0][0].read_text().splitlines()[1].split(":")
    assert (entry[0], entry[2], entry[3], entry[5]) == (USER, str(UID), str(UID), str(WORK))
    limits = Limits(cpus=1, memory=96_000_000, disk=20_000_000, pids=24, log=1_000_000)
    spec = Spec(job="j-1", command=("true",), workspace=Path("/w"), limits=limits, environment={}, runtime="image")
    made = creation_of(spec, layout_for(spec), "host=1", Dialect())
    assert {"HOME=/fedproc/work", "USER=tool", "LOGNAME=tool"} <= set(made["Env"])


def test_end_of_connections_is_run_by_the_python_of_the_image(tmp_path: Path) -> None:
    """Python's own images have it in /usr/local/bin alone."""
    limits = Limits(cpus=1, memory=96_000_000, disk=20_000_000, pids=24, log=1_000_000)
    ports = (Port("grpc", 8080, tmp_path / "in.sock"),)
    spec = Spec(
        job="j-1", command=("true",), workspace=Path("/w"), limits=limits, environment={}, runtime="image", ports=ports
    )
    assert layout_for(spec, PYTHON).command[:2] == ["python3", "-I"]
