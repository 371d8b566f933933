"""What an engine is asked for depends on which engine it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedproc.site.executors.base import WORK, Limits, Port, Spec
from fedproc.site.executors.confinement.etc import UID, USER, write_accounts
from fedproc.site.executors.docker.creation import creation_of
from fedproc.site.executors.docker.dialect import Dialect, EngineNature, dialect_for, nature_of, speaks_podman
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


def _podman(*, rootless: bool = True, controllers: tuple[str, ...] = ()) -> EngineNature:
    maps = [{"container_id": 1, "host_id": 700_000, "size": 65536}, {"container_id": 0, "host_id": 1000, "size": 1}]
    groups = [{"container_id": 0, "host_id": 995, "size": 1}]
    host = {
        "security": {"rootless": rootless}, "cgroupControllers": list(controllers),
        "idMappings": {"uidmap": maps, "gidmap": groups} if rootless else {"uidmap": []},
    }  # fmt: skip
    return nature_of({**PODMAN, "Version": "5.4.2"}, {"host": host})


@pytest.mark.parametrize(
    ("nature", "owner", "lacks"),
    [
        (_podman(), 1000, ("memory", "cpus", "pids")),
        (_podman(controllers=("cpuset", "cpu", "memory", "pids")), 1000, ()),
        (_podman(controllers=("memory", "pids")), 1000, ("cpus",)),
        (_podman(rootless=False, controllers=("cpu", "memory", "pids")), None, ()),
        (nature_of(DOCKER, {"MemoryLimit": True, "CpuCfsQuota": False, "PidsLimit": True}), None, ("cpus",)),
        (nature_of(DOCKER, {}), None, ()),
    ],
)
def test_an_engine_says_whose_it_is_and_which_limits_it_lacks(
    nature: EngineNature, owner: int | None, lacks: tuple[str, ...]
) -> None:
    assert (nature.owner, nature.lacks, nature.obstacle) == (owner, lacks, "")
    assert nature.cure


def test_docker_of_an_ordinary_user_is_refused_with_what_to_use_instead() -> None:
    nature = nature_of(DOCKER, {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]})
    assert "Podman" in nature.obstacle


def test_a_job_in_podman_of_an_ordinary_user_is_that_user_outside(tmp_path: Path) -> None:
    dialect = dialect_for(_podman(), tmp_path / "seccomp.json")
    host = made(dialect)
    assert (dialect.owner, dialect.group) == (1000, 995)
    assert host["UsernsMode"] == f"keep-id:uid={UID},gid={UID}"
    assert not host.keys() & {"Memory", "NanoCpus", "PidsLimit"}
    json.loads((tmp_path / "seccomp.json").read_text())


def test_limits_go_to_the_engine_that_has_control_groups_for_them(tmp_path: Path) -> None:
    nature = _podman(controllers=("memory", "pids"))
    host = made(dialect_for(nature, tmp_path / "seccomp.json"))
    assert (host["Memory"], host["PidsLimit"]) == (96_000_000, 24)
    assert "NanoCpus" not in host


def test_a_job_of_roots_engine_is_10001_outside_too(tmp_path: Path) -> None:
    dialect = dialect_for(_podman(rootless=False, controllers=("cpu", "memory", "pids")), tmp_path / "seccomp.json")
    assert (dialect.owner, dialect.group, made(dialect)["UsernsMode"]) == (UID, UID, "")
