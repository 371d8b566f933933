"""What an engine is asked for depends on which engine it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedproc.site.executors.base import Limits, Spec
from fedproc.site.executors.docker.creation import creation_of
from fedproc.site.executors.docker.dialect import Dialect, speaks_podman
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
