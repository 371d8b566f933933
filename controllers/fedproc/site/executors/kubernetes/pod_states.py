"""What a pod's status says of its job (Kubernetes' API, ``PodStatus``): runs, waits, or how it ended."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

CONTAINER = "job"
KEY = "FEDPROC_KEY"
"""the variable of a pod's first program that has its key"""
Pod = Mapping[str, Any]
_OUT_OF_MEMORY = "OOMKilled"
_KILLED = 137
_SCRATCH_FULL = re.compile(r'EmptyDir volume "(tmp|shm)"')
"""the kubelet's words for a job that filled /tmp or /dev/shm"""
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


def uid_of(pod: Pod) -> str:
    """The cluster's own name of it, which no other pod of the same name has."""
    return str(_part(pod, "metadata").get("uid", ""))


def labels_of(pod: Pod) -> Mapping[str, Any]:
    return _part(_part(pod, "metadata"), "labels")


def key_of(pod: Pod) -> str:
    """What only this pod's first program knows: it stands in what was asked for, which nobody can change later."""
    variables = (each for one in _mappings(_part(pod, "spec").get("containers")) for each in _mappings(one.get("env")))
    return next((str(each.get("value") or "") for each in variables if each.get("name") == KEY), "")


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


def began(pod: Pod, now: datetime) -> datetime:
    """When its container began, which a daemon may learn hours later: after its pod was made, and before ``now``."""
    try:
        stated = datetime.fromisoformat(str(_part(_state(pod), "running").get("startedAt")))
        return min(datetime.fromtimestamp(max(stated.timestamp(), created(pod)), UTC), now)
    except (ValueError, OverflowError):  # nobody says
        return now


def has_begun(pod: Pod) -> bool:
    return "running" in _state(pod) or "terminated" in _state(pod)


def ending_of(pod: Pod, key: str) -> Ending | None:
    """How it ended, if it did. ``key`` is what only the job's first program knows."""
    if not is_left_by_its_node(pod) and "terminated" not in _state(pod):
        return None
    status = _part(pod, "status")
    limit, detail = POD_REASONS.get(str(status.get("reason")), (None, ""))
    message = str(status.get("message") or "")
    if detail and _SCRATCH_FULL.search(message):
        limit, detail = "disk", "it wrote more than its scratch folders hold"
    end = _state(pod).get("terminated")
    if not detail and status.get("reason") and not isinstance(end, Mapping):
        detail = f"the cluster ended it ({str(status['reason'])[:100]})"
    if detail:
        return Ending(None, limit, f"{detail}: {message[:300]}" if message else detail)
    return _of_container(end, key)


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
        return Ending(code, "memory", "", facts, code)
    return Ending(code if facts else None, None, "" if facts else _unexplained(code), facts, code)


def _unexplained(code: int) -> str:
    """Its first program could not say how it ended."""
    killed = f" (its node says {code}: killed, as the kernel does for want of memory, too)"
    return LOST + (killed if code == _KILLED else "")


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
    return _mappings(_part(pod, "status").get(name))


def _mappings(found: Any) -> list[Mapping[str, Any]]:
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
