"""What the cluster gives this host, asked before a job comes: rights, volumes, the policy of its network, limits."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from fedproc.site.executors.base import ExecutorError, Limits, Offer, Spec
from fedproc.site.executors.kubernetes.cluster import (
    CONFLICT,
    GONE,
    Cluster,
    ClusterAwayError,
    ClusterRefusedError,
)
from fedproc.site.executors.kubernetes.follower import NETWORK_OPEN
from fedproc.site.executors.kubernetes.pod import POLICY, JobFiles, network_policy, pod_of
from fedproc.site.executors.kubernetes.volumes import SharedFolders
from fedproc.site.executors.layout import layout_for
from fedproc.site.settings import KubernetesSettings

_FORBIDDEN = 403
_RIGHTS = (
    ("", "pods", ("create", "get", "list", "watch", "delete", "patch")),
    ("networking.k8s.io", "networkpolicies", ("get", "create")),
)
_TRIAL = "fedproc-trial"
_SMALL = Limits(cpus=0.1, memory=64 << 20, disk=1)
_LEVEL = "pod-security.kubernetes.io/enforce"
_OPEN_SECONDS = 600
"""for which a network that a job found open keeps others away; then the next one looks"""
_PIDS_CURE = (
    "give the kubelets a podPidsLimit and say which in the settings (kubernetes.pids): inside a pod processes are "
    "counted twice a second, and what forks in between is the node's"
)


class Promises:
    """Asks the cluster of one host."""

    def __init__(self, cluster: Cluster, settings: KubernetesSettings, folder: Path, host: str) -> None:
        self._cluster = cluster
        self._settings = settings
        self._folder = folder
        self._host = host
        self._folders = SharedFolders(settings.folders)

    async def offer(self) -> Offer:
        """See the protocol of executors."""
        try:
            version = await self._cluster.get("/version")
            obstacle = await self._obstacle()
        except ExecutorError as error:
            return Offer(obstacle=error.message, away=isinstance(error, ClusterAwayError))
        own = "own network namespaces" if self._settings.seccomp_profile else "NetworkPolicies, tried in each pod"
        detail = f"Kubernetes {str(version.get('gitVersion'))[:40]}, namespace {self._cluster.namespace}, {own}"
        return Offer(detail, obstacle, {} if self._settings.pids else {"pids": _PIDS_CURE})

    async def _obstacle(self) -> str:
        if text := await asyncio.to_thread(self._of_this_host):
            return text
        if text := await self._rights():
            return text
        return await self._level() or await self._trial() or await self._claims() or await self._policy()

    def _of_this_host(self) -> str:
        if not self._folders.has(self._folder):
            return (
                f"pods cannot be given anything of {self._folder}: name the folders that the nodes share "
                "(kubernetes.folders), this one among them (kubernetes.folder)"
            )
        found = self._folder / NETWORK_OPEN
        if found.exists() and abs(time.time() - found.stat().st_mtime) < _OPEN_SECONDS:
            return (
                f"{found.read_text()[:200]}, though the NetworkPolicy {POLICY} forbids it: install a network plugin "
                "that enforces NetworkPolicies, or give the nodes the profile of fedproc site seccomp-profile "
                "(kubernetes.seccomp_profile)"
            )
        return ""

    async def _rights(self) -> str:
        """What this host's account may not do."""
        missing = []
        for group, resource, verbs in _RIGHTS:
            for verb in verbs:
                if not await self._may(group, resource, verb):
                    missing.append(f"{verb} {resource}")
        if not missing:
            return ""
        return (
            f"its account may not {', '.join(missing)} in the namespace {self._cluster.namespace}: see "
            "that the namespace is there, and bind the account to the Role of docs/executors.md in it"
        )

    async def _may(self, group: str, resource: str, verb: str) -> bool:
        asked = {"namespace": self._cluster.namespace, "group": group, "resource": resource, "verb": verb}
        answer = await self._cluster.create(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": asked},
            },
        )
        status = answer.get("status")
        return isinstance(status, dict) and status.get("allowed") is True

    async def _level(self) -> str:
        """Whether the namespace takes these pods."""
        namespace = await self._asked(f"/api/v1/namespaces/{self._cluster.namespace}")
        if namespace is None:
            return ""  # its account may not look; pods that are refused say why
        labels = (namespace.get("metadata") or {}).get("labels") or {}
        level = labels.get(_LEVEL, "privileged")
        if level != "privileged" and any(folder.host_path for folder in self._settings.folders):
            return (
                f"the namespace {self._cluster.namespace} is of the level {level}, which refuses host_path: give its "
                "folders by claim (kubernetes.folders)"
            )
        return ""

    async def _trial(self) -> str:
        """Why the cluster would refuse the pod of any job: all that decide about one are asked, and none is made."""
        spec = Spec(_TRIAL, ("true",), {}, self._image(), self._folder / _TRIAL, _SMALL)
        pod = pod_of(
            spec, layout_for(spec), JobFiles(spec.workspace), self._settings, self._host, self._settings.user, ""
        )
        try:
            await self._cluster.create_pod(pod, trial=True)
        except ClusterRefusedError as error:
            return f"it would take no job: {error.message}" if error.cure else ""
        return ""

    def _image(self) -> str:
        place = next(iter(self._settings.registries.values()), "store.invalid")
        return f"{place}/{_TRIAL}@sha256:{'0' * 64}"

    async def _claims(self) -> str:
        for name in sorted({folder.claim for folder in self._settings.folders if folder.claim}):
            path = f"/api/v1/namespaces/{self._cluster.namespace}/persistentvolumeclaims/{name}"
            try:
                claim = await self._cluster.get(path)
            except ClusterRefusedError as error:
                if error.status == GONE:
                    return f"the namespace {self._cluster.namespace} has no PersistentVolumeClaim {name}: make it"
                continue  # its account may not look; pods that have no volume wait and say so
            if (claim.get("status") or {}).get("phase") == "Lost":
                return f"the volume of the PersistentVolumeClaim {name} is lost"
        return ""

    async def _policy(self) -> str:
        """Make the NetworkPolicy of jobs, unless it is there; one that allows something is somebody else's."""
        found = await self._asked(self._cluster.policies(POLICY), missing={})
        if found is None:
            return f"its account may not read the NetworkPolicy {POLICY}"
        if not found:
            try:
                await self._cluster.create(self._cluster.policies(), network_policy())
            except ClusterRefusedError as error:
                if error.status != CONFLICT:
                    return f"{error.message}: make the NetworkPolicy {POLICY} of docs/executors.md"
            return ""
        spec = found.get("spec") or {}
        wanted = network_policy()["spec"]
        same = all(spec.get(name) == wanted[name] for name in ("podSelector",))
        closed = same and not spec.get("ingress") and not spec.get("egress")
        types = set(spec.get("policyTypes") or ()) == {"Ingress", "Egress"}
        return "" if closed and types else f"the NetworkPolicy {POLICY} is not the one of docs/executors.md: delete it"

    async def _asked(self, path: str, missing: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """What is there; None where this account may not look, ``missing`` where there is nothing."""
        try:
            return await self._cluster.get(path)
        except ClusterRefusedError as error:
            if error.status == _FORBIDDEN:
                return None
            if error.status == GONE:
                return missing
            raise
