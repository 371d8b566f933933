"""The pod that is asked for: what a namespace of the level ``restricted`` takes, and nothing a job could misuse."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from pydantic import ValidationError

from fedproc.site.executors.base import ExecutorError, Forward, Limits, Mount, Spec, Stop
from fedproc.site.executors.kubernetes.pod import JobFiles, label_of, network_policy, order_of, pod_of
from fedproc.site.executors.kubernetes.volumes import SharedFolders
from fedproc.site.executors.layout import layout_for
from fedproc.site.settings import KubernetesFolder, KubernetesSettings

STATE, DATA = Path("/srv/state"), Path("/srv/data")
FOLDERS = (
    KubernetesFolder(path=STATE, claim="state", sub_path="hosts/ub"),
    KubernetesFolder(path=DATA, claim="data"),
    KubernetesFolder(path=DATA / "big", host_path=Path("/export/big")),
)
SETTINGS = KubernetesSettings(folders=FOLDERS)
LIMITS = Limits(cpus=1.5, memory=96_000_000, disk=20_000_000, pids=24, log=1000)
SPEC = Spec(
    job="j-0123",
    command=("fit", "$(HOME)"),
    environment={"TOKENS": "$(PATH) 4"},
    runtime="mirror/a@sha256:" + "0" * 64,
    workspace=STATE / "jobs" / "j-0123" / "work",
    limits=LIMITS,
    mounts=(Mount(DATA / "cohort", PurePosixPath("/fedproc/input/dataset/cohort")),),
    stop=Stop("SIGINT", 2.5),
)


def made(spec: Spec = SPEC, settings: KubernetesSettings = SETTINGS) -> dict[str, Any]:
    files = JobFiles(STATE / "kubernetes" / spec.job)
    return pod_of(spec, layout_for(spec, "python3"), files, settings, "ub", 10001, "key")


def test_pod_keeps_to_the_level_restricted() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
    pod = made()["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "supplementalGroups": [],
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & pod.keys()
    assert {kind for volume in pod["volumes"] for kind in volume} == {"name", "persistentVolumeClaim", "emptyDir"}


def test_pod_is_given_no_secret_and_is_never_started_twice() -> None:
    pod = made()
    assert pod["metadata"]["name"] == SPEC.job
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["enableServiceLinks"] is False


def test_cluster_learns_neither_command_nor_parameters() -> None:
    told = str(made())
    assert "fit" not in told
    assert "TOKENS" not in told
    order = order_of(SPEC, SPEC.command, b"12345678")
    assert order["command"] == ["fit", "$(HOME)"]
    assert order["environment"]["TOKENS"] == "$(PATH) 4"
    assert (order["signal"], order["grace"], order["pids"]) == ("SIGINT", 2.5, 24)


def test_limits_are_those_of_the_job_and_a_little_for_what_watches_it() -> None:
    pod = made()["spec"]
    limits = pod["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "1500m", "memory": str(96_000_000 + (32 << 20)), "ephemeral-storage": "64Mi"}
    assert [v["emptyDir"] for v in pod["volumes"] if "emptyDir" in v] == [
        {"medium": "Memory", "sizeLimit": str(732 * 65536)},
        {"medium": "Memory", "sizeLimit": str(732 * 65536)},
    ], "whole pages: a node rounds up what it gives, and evicts who uses it"
    assert pod["terminationGracePeriodSeconds"] > 2.5
    assert "activeDeadlineSeconds" not in pod
    assert made(settings=SETTINGS.model_copy(update={"minutes": 2}))["spec"]["activeDeadlineSeconds"] == 120


def test_folders_become_parts_of_volumes_and_are_read_only_but_the_workspace() -> None:
    mounts = {mount["mountPath"]: mount for mount in made()["spec"]["containers"][0]["volumeMounts"]}
    work, data = mounts["/fedproc/work"], mounts["/fedproc/input/dataset/cohort"]
    assert (work["subPath"], work["readOnly"]) == ("hosts/ub/jobs/j-0123/work", False)
    assert (data["subPath"], data["readOnly"]) == ("cohort", True)
    writable = {place for place, mount in mounts.items() if not mount.get("readOnly")}
    output = {"/fedproc/output/stdout", "/fedproc/output/stderr"}
    assert writable == {"/fedproc/work", "/tmp", "/dev/shm", *output}


def test_longest_folder_that_holds_a_path_is_used() -> None:
    folders = SharedFolders(FOLDERS)
    mount = folders.mount("/srv/data/big/one", "/d", writable=False)
    assert mount["subPath"] == "one"
    assert folders.volumes([mount]) == [
        {"name": mount["name"], "hostPath": {"path": "/export/big", "type": "Directory"}}
    ]
    assert "subPath" not in folders.mount("/srv/data", "/d", writable=False)


@pytest.mark.parametrize("path", ["/etc/shadow", "/srv/datasets", "/srv/state/../../etc"])
def test_what_the_nodes_do_not_have_is_refused(path: str) -> None:
    with pytest.raises(ExecutorError, match=r"kubernetes\.folders"):
        SharedFolders(FOLDERS).mount(path, "/d", writable=False)


def test_connections_need_the_node_that_this_host_is() -> None:
    forward = Forward("peer.fedproc.internal", 9092, STATE / "jobs" / "j-0123" / "out" / "peer")
    spec = replace(SPEC, forwards=(forward,))
    with pytest.raises(ExecutorError, match=r"kubernetes\.node"):
        made(spec)
    pod = made(spec, SETTINGS.model_copy(update={"node": "node-7"}))["spec"]
    assert pod["nodeSelector"]["kubernetes.io/hostname"] == "node-7"
    assert pod["hostAliases"] == [{"ip": "127.0.1.1", "hostnames": ["peer.fedproc.internal"]}]
    assert "kubernetes.io/hostname" not in made()["spec"]["nodeSelector"]


def test_name_that_the_api_does_not_take_stands_in_a_hosts_file_of_our_own() -> None:
    forward = Forward("train_a.fedproc.internal", 9092, STATE / "jobs" / "j-0123" / "out" / "peer")
    pod = made(replace(SPEC, forwards=(forward,)), SETTINGS.model_copy(update={"node": "node-7"}))["spec"]
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert pod["hostAliases"] == []
    assert mounts["/etc/hosts"]["subPath"] == "hosts/ub/kubernetes/j-0123/hosts"
    assert "/etc/hosts" not in {mount["mountPath"] for mount in made()["spec"]["containers"][0]["volumeMounts"]}


@pytest.mark.parametrize("host", ["UB", "UB_2", "UB_", "X" * 31])
def test_label_of_a_host_is_one(host: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9_.-]*[a-z0-9])?", label_of(host))
    assert len(label_of(host)) <= 63


def test_gpus_are_asked_for_by_number_where_the_site_says_as_what() -> None:
    spec = replace(SPEC, limits=replace(LIMITS, gpus=("GPU-a", "GPU-b")))
    with pytest.raises(ExecutorError, match="gives jobs no GPUs"):
        made(spec)
    pod = made(spec, SETTINGS.model_copy(update={"gpu_resource": "nvidia.com/gpu"}))["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"


def test_site_says_where_and_how_pods_run() -> None:
    more = {"seccomp_profile": "fedproc.json", "pull_secret": "mirror", "priority_class": "low",
            "runtime_class": "gvisor", "node_selector": {"pool": "ai"}}  # fmt: skip
    pod = made(settings=SETTINGS.model_copy(update=more))["spec"]
    profile = {"type": "Localhost", "localhostProfile": "fedproc.json"}
    assert pod["securityContext"]["seccompProfile"] == profile
    assert pod["imagePullSecrets"] == [{"name": "mirror"}]
    assert (pod["priorityClassName"], pod["runtimeClassName"]) == ("low", "gvisor")
    assert pod["nodeSelector"]["pool"] == "ai"


def test_policy_of_the_network_lets_nothing_in_or_out_of_any_job() -> None:
    policy = network_policy()["spec"]
    assert (policy["ingress"], policy["egress"]) == ([], [])
    assert policy["podSelector"]["matchLabels"].items() <= made()["metadata"]["labels"].items()


@pytest.mark.parametrize(
    "folder",
    [{"path": "/a"}, {"path": "/a", "claim": "x", "host_path": "/b"}, {"path": "/a", "claim": "x", "sub_path": "../b"}],
)
def test_folder_is_given_one_way_and_no_way_out(folder: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        KubernetesFolder.model_validate(folder)
