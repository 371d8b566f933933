"""What a pod's status says of its job (Kubernetes' API, ``PodStatus``): runs, waits, or how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

CONTAINER = "job"
Pod = Mapping[str, Any]
_OUT_OF_MEMORY = "OOMKilled"
_NOT_STARTED = ("StartError", "ContainerCannotRun", "RunContainerError")
_LOST = ("ContainerStatusUnknown", "Unknown")
"""the kubelet's words for a container whose end it did not see"""
LOST = "the cluster lost its pod, or somebody else there removed it, while the job ran"
NO_PYTHON = "its container does not start: an image needs python3 in its PATH ({})"

POD_REASONS: dict[str, tuple[str | None, str]] = {
    "DeadlineExceeded": ("time", "Kubernetes ended it at the time limit of its pod (kubernetes.minutes)"),
    "Evicted": (None, "its node was short of a resource and evicted it while the job ran"),
    "NodeLost": (None, "its node was lost while the job ran"),
    "NodeShutdown": (None, "its node was shut down while the job ran"),
    "Terminated": (None, "its node was shut down while the job ran"),
    "Preempting": (None, "a pod of higher priority took its place while the job ran"),
    "UnexpectedAdmissionError": (None, "its node refused it"),
    "OutOfcpu": (None, "its node had no processors left for it"),
    "OutOfmemory": (None, "its node had no memory left for it"),
}
"""why the cluster ended a pod by itself: the limit, if it was one, and what it is to people"""

WAITING_SECONDS: dict[str, float] = {
    "InvalidImageName": 0,
    "ErrImageNeverPull": 0,
    "ErrImagePull": 120,
    "ImagePullBackOff": 120,
    "ImageInspectError": 120,
    "RegistryUnavailable": 600,
    "CreateContainerConfigError": 120,
    "CreateContainerError": 120,
    "CreatePodSandboxError": 600,
}
"""for how long a container that waits for this reason is waited for; others, and pods that no node has, without end"""


@dataclass(frozen=True)
class Ending:
    """How a job's pod ended; ``code`` None if the cluster lost it. ``facts`` is what the job's first program wrote."""

    code: int | None
    limit: str | None = None
    detail: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    kubelets: int | None = None
    """the exit code that the node saw, also of one that was killed before it could say anything"""


@dataclass(frozen=True)
class Waiting:
    """Why a job's pod does not run yet, and for how many seconds that may go on; None: without end."""

    reason: str
    seconds: float | None


def name_of(pod: Pod) -> str:
    return str(_part(pod, "metadata").get("name", ""))


def created(pod: Pod) -> float:
    """When it was made, in seconds since 1970; 0 where nobody can say."""
    try:
        made = datetime.fromisoformat(str(_part(pod, "metadata").get("creationTimestamp")))
        return max(0.0, made.timestamp())
    except (ValueError, OverflowError):
        return 0.0


def is_being_deleted(pod: Pod) -> bool:
    return "deletionTimestamp" in _part(pod, "metadata")


def is_left_by_its_node(pod: Pod) -> bool:
    """No process of it is there, or no node has ever had it."""
    status, meta = _part(pod, "status"), _part(pod, "metadata")
    if status.get("phase") in ("Succeeded", "Failed"):
        return True
    forgotten = is_being_deleted(pod) and meta.get("deletionGracePeriodSeconds") == 0
    return forgotten and "running" not in _state(pod)


def has_begun(pod: Pod) -> bool:
    return "running" in _state(pod) or "terminated" in _state(pod)


def ending_of(pod: Pod, key: str) -> Ending | None:
    """How it ended, if it did. ``key`` is what only the job's first program knows."""
    if not is_left_by_its_node(pod) and "terminated" not in _state(pod):
        return None
    status = _part(pod, "status")
    limit, detail = POD_REASONS.get(str(status.get("reason")), (None, ""))
    if detail:
        message = str(status.get("message") or "")
        return Ending(None, limit, f"{detail}: {message[:300]}" if message else detail)
    return _of_container(_state(pod).get("terminated"), key)


def _of_container(end: Any, key: str) -> Ending:
    if not isinstance(end, Mapping) or not isinstance(end.get("exitCode"), int):
        return Ending(None, None, LOST)
    reason, code = str(end.get("reason")), int(end["exitCode"])
    if reason in _NOT_STARTED:
        return Ending(None, None, NO_PYTHON.format(str(end.get("message") or reason)[:300]))
    if reason in _LOST:
        return Ending(None, None, LOST)
    facts = _facts(end.get("message"), key)
    if reason == _OUT_OF_MEMORY:
        return Ending(code, "memory", "")
    return Ending(code if facts else None, None, "" if facts else LOST, facts, code)


def _facts(message: Any, key: str) -> Mapping[str, Any]:
    try:
        facts = json.loads(message)
    except (TypeError, ValueError):
        return {}
    return facts if isinstance(facts, dict) and facts.get("key") == key else {}


def waiting_of(pod: Pod) -> Waiting | None:
    """Why it does not run yet; None if it does, or did."""
    if has_begun(pod) or is_left_by_its_node(pod):
        return None
    waiting = _state(pod).get("waiting")
    if isinstance(waiting, Mapping) and (reason := str(waiting.get("reason") or "")) in WAITING_SECONDS:
        return Waiting(f"{reason}: {str(waiting.get('message') or '')[:300]}", WAITING_SECONDS[reason])
    for condition in _parts(pod, "conditions"):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Waiting(f"{condition.get('reason')}: {str(condition.get('message') or '')[:300]}", None)
    return Waiting("its pod is being started", None)


def _state(pod: Pod) -> Mapping[str, Any]:
    for each in _parts(pod, "containerStatuses"):
        if each.get("name") == CONTAINER and isinstance(each.get("state"), Mapping):
            return dict(each["state"])
    return {}


def _part(pod: Pod, name: str) -> Mapping[str, Any]:
    part = pod.get(name)
    return part if isinstance(part, Mapping) else {}


def _parts(pod: Pod, name: str) -> list[Mapping[str, Any]]:
    parts = _part(pod, "status").get(name)
    return [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
