"""What the cluster is asked to make of a job: a pod for a namespace of the level ``restricted``, and its order."""

from __future__ import annotations

import base64
import math
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedproc.site.executors.base import WORK, ExecutorError, Limits, Spec
from fedproc.site.executors.confinement.etc import USER
from fedproc.site.executors.kubernetes.pod_states import CONTAINER, KEY
from fedproc.site.executors.kubernetes.volumes import SharedFolders
from fedproc.site.executors.layout import CONNECT, SandboxLayout
from fedproc.site.settings import KubernetesSettings

HOST_LABEL, JOB_LABEL, KIND_LABEL = "fedproc.eucaim.eu/host", "fedproc.eucaim.eu/job", "fedproc.eucaim.eu/kind"
FINALIZER = "fedproc.eucaim.eu/kept-until-noted"
"""keeps a pod that has ended, or that somebody deletes, until its end is on record here"""
POLICY = "fedproc-jobs"
_CONTROL = "/fedproc/control"
_MEGABYTE = 1 << 20
_LAUNCHER_MEMORY = 32 * _MEGABYTE
"""for the program beside the job"""
_GRACE_MARGIN = 5
"""seconds that a node waits longer than the launcher does"""
_PAGE = 1 << 16
"""the largest that Linux has"""
_OWN_STORAGE = "64Mi"
"""of the node's: the root is read-only, and scratch is memory"""
_DOMAIN = re.compile(r"[a-z0-9.-]+")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class JobFiles:
    """A job's files in the shared folder: what its pod is shown, and what is kept of it."""

    folder: Path

    @property
    def control(self) -> Path:
        """Seen read-only inside."""
        return self.folder / "control"

    @property
    def stop(self) -> Path:
        """Is there once the job is to end."""
        return self.control / "stop"

    @property
    def handing(self) -> Path:
        """Is there from before the cluster is asked on, unless it refused the job."""
        return self.folder / "handing"

    def output(self, stream: str) -> Path:
        return self.folder / stream


def order_of(spec: Spec, command: Sequence[str], filter_program: bytes) -> dict[str, Any]:
    """What the job's first program reads. It stays in the shared folder: the API sees no parameter."""
    own = {"HOME": str(WORK), "USER": USER, "LOGNAME": USER, "TMPDIR": "/tmp"}  # noqa: S108 (the job's own)
    return {
        "command": list(command),
        "environment": {**own, **spec.environment},
        "rlimits": {"FSIZE": spec.limits.disk, "CORE": 0, "NOFILE": 4096},
        "log": spec.limits.log,
        "pids": spec.limits.pids,
        "memory": spec.limits.memory,
        "disk": spec.limits.disk,
        "signal": spec.stop.signal,
        "grace": spec.stop.grace,
        "filter": base64.b64encode(filter_program).decode(),
        "gate": [],
    }


def label_of(host: str) -> str:
    """The value of a host's label: it may not end with an underscore."""
    return f"{host.lower()}0" if host.endswith("_") else host.lower()


def has_own_hosts(layout: SandboxLayout) -> bool:
    """Whether it needs a hosts file of ours: the API takes no name with an underscore, and tasks may have such."""
    return not all(_DOMAIN.fullmatch(alias) for _, alias in layout.hosts)


def pod_of(
    spec: Spec, layout: SandboxLayout, files: JobFiles, settings: KubernetesSettings, host: str, uid: int, key: str
) -> dict[str, Any]:
    """The pod. Raises :class:`ExecutorError` for what this cluster cannot give."""
    folders = SharedFolders(settings.folders)
    mounts = [folders.mount(source, target, writable=writable) for source, target, writable in _shown(layout, files)]
    connected = bool(spec.forwards or spec.ports)
    if connected and settings.node is None:
        raise ExecutorError(
            "connections of jobs reach the orchestrator's machine alone: say which node of the cluster this host is"
            " (kubernetes.node)",
            code="system_fault.kubernetes",
        )
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": spec.job,
            "labels": {HOST_LABEL: host, JOB_LABEL: spec.job[:63], KIND_LABEL: "job"},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "hostname": spec.job[:63].rstrip("-"),
            "hostAliases": [
                {"ip": address, "hostnames": [alias]} for address, alias in layout.hosts if not has_own_hosts(layout)
            ],
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["127.0.0.1"]},  # one has to be named, and nobody listens there
            "terminationGracePeriodSeconds": math.ceil(spec.stop.grace) + _GRACE_MARGIN,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": uid,
                "runAsGroup": uid,
                "supplementalGroups": [],
                "seccompProfile": _seccomp(settings),
            },
            "containers": [_container(spec, settings, mounts, key)],
            "volumes": [*folders.volumes(mounts), *_scratch(spec.limits)],
            **_placing(settings, connected=connected),
        },
    }


def _shown(layout: SandboxLayout, files: JobFiles) -> list[tuple[str, str, bool]]:
    own = [(str(files.control), _CONTROL, False)]
    own += [(str(files.output(name)), f"/fedproc/output/{name}", True) for name in ("stdout", "stderr")]
    names = ("passwd", "group", "hosts") if has_own_hosts(layout) else ("passwd", "group")
    own += [(str(files.folder / name), f"/etc/{name}", False) for name in names]
    fixed = [
        (str(files.control / "connect.py") if target == str(CONNECT) else source, target, False)
        for source, target in layout.mounts
    ]
    return [*own, *fixed, *((source, target, True) for source, target in layout.writable)]


def _container(spec: Spec, settings: KubernetesSettings, mounts: list[dict[str, Any]], key: str) -> dict[str, Any]:
    limits = _resources(spec.limits, settings)
    scratch = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "shm", "mountPath": "/dev/shm"}]  # noqa: S108 (the job's own)
    return {
        "name": CONTAINER,
        "image": spec.runtime,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-I", f"{_CONTROL}/launch.py"],
        "env": [
            {"name": KEY, "value": key},
            {"name": "FEDPROC_NODE", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        ],
        "workingDir": "/",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"limits": limits, "requests": {**limits, "ephemeral-storage": "0"}},
        "volumeMounts": [*scratch, *mounts],
    }


def _resources(limits: Limits, settings: KubernetesSettings) -> dict[str, str]:
    found = {
        "cpu": f"{max(1, math.ceil(limits.cpus * 1000))}m",
        "memory": str(limits.memory + _LAUNCHER_MEMORY),
        "ephemeral-storage": _OWN_STORAGE,
    }
    if limits.gpus:
        if settings.gpu_resource is None:
            raise ExecutorError(
                "this host's executor, kubernetes, gives jobs no GPUs (kubernetes.gpu_resource)",
                code="system_fault.kubernetes",
            )
        found[settings.gpu_resource] = str(len(limits.gpus))
    return found


def _scratch(limits: Limits) -> list[dict[str, Any]]:
    size = str(limits.memory // 2 // _PAGE * _PAGE)  # a part of a page more would be room, and get its pod evicted
    return [{"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": size}} for name in ("tmp", "shm")]


def _seccomp(settings: KubernetesSettings) -> dict[str, str]:
    if settings.seccomp_profile is None:
        return {"type": "RuntimeDefault"}
    return {"type": "Localhost", "localhostProfile": settings.seccomp_profile}


def _placing(settings: KubernetesSettings, *, connected: bool) -> dict[str, Any]:
    labels = {"kubernetes.io/arch": _MACHINES.get(platform.machine(), platform.machine()), **settings.node_selector}
    if connected:
        labels["kubernetes.io/hostname"] = str(settings.node)
    found: dict[str, Any] = {"nodeSelector": labels}
    if settings.pull_secret:
        found["imagePullSecrets"] = [{"name": settings.pull_secret}]
    if settings.priority_class:
        found["priorityClassName"] = settings.priority_class
    if settings.runtime_class:
        found["runtimeClassName"] = settings.runtime_class
    if settings.minutes:
        found["activeDeadlineSeconds"] = settings.minutes * 60
    return found


def network_policy() -> dict[str, Any]:
    """No connection to or from any job's pod: declared ones go by unix sockets of shared folders."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            "podSelector": {"matchLabels": {KIND_LABEL: "job"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": [],
        },
    }
