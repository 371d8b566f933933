"""What a pod's status says of its job, as API servers and kubelets write it, and as nobody should."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.anything import bent

from fedproc.site.executors.kubernetes.pod_states import LOST, POD_REASONS, created, ending_of, waiting_of

KEY = "k1"
TOLD = json.dumps({"key": KEY, "limit": "pids", "detail": "too many"})


def pod(phase: str, state: Any = None, deleted: bool = False, grace: int = 30, **status: Any) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": "j-1"}
    if deleted:
        meta |= {"deletionTimestamp": "2026-11-28T10:00:00Z", "deletionGracePeriodSeconds": grace}
    statuses = [] if state is None else [{"name": "job", "state": state}]
    return {"metadata": meta, "status": {"phase": phase, "containerStatuses": statuses, **status}}


def over(code: int, reason: str = "Error", message: str | None = TOLD) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


@pytest.mark.parametrize(
    ("seen", "code", "limit", "says"),
    [
        (pod("Succeeded", over(0, "Completed")), 0, None, ""),
        (pod("Failed", over(3)), 3, None, ""),
        (pod("Running", over(3)), 3, None, ""),
        (pod("Failed", over(137, "OOMKilled", "what the job wrote")), 137, "memory", ""),
        (pod("Failed", over(137, message="")), None, None, LOST),
        (pod("Failed", over(0, "Completed", json.dumps({"key": "another's"}))), None, None, LOST),
        (pod("Failed", over(255, "ContainerStatusUnknown", "")), None, None, LOST),
        (pod("Failed", over(128, "StartError", 'exec: "python3": not found')), None, None, "needs python3"),
        (pod("Failed", reason="Evicted", message="low on memory"), None, None, "evicted it while the job ran: low"),
        (pod("Failed", over(143), reason="DeadlineExceeded"), None, "time", "time limit of its pod"),
        (pod("Failed", reason="NodeShutdown"), None, None, "shut down"),
        (pod("Failed", over(137, message="")), None, None, "137: killed, as the kernel does for want of memory"),
        (
            pod("Failed", reason="OutOfpods", message="Pod was rejected: too many"),
            None,
            None,
            "(OutOfpods): Pod was rej",
        ),
        (
            pod("Failed", reason="Evicted", message='Usage of EmptyDir volume "tmp" exceeds the limit "48M".'),
            None,
            "disk",
            "more than its scratch folders hold: Usage of",
        ),
        (pod("Failed"), None, None, LOST),
        (pod("Pending", deleted=True, grace=0), None, None, LOST),
    ],
)
def test_end_of_a_pod(seen: dict[str, Any], code: int | None, limit: str | None, says: str) -> None:
    ending = ending_of(seen, KEY)
    assert ending is not None
    assert (ending.code, ending.limit) == (code, limit)
    assert says in ending.detail


@pytest.mark.parametrize(
    "seen",
    [
        pod("Pending"),
        pod("Pending", {"waiting": {"reason": "ContainerCreating"}}),
        pod("Running", {"running": {}}),
        pod("Running", {"running": {}}, deleted=True),
        pod("Running", {"running": {}}, deleted=True, grace=0),
        pod("Unknown", {"running": {}}),
        pod("Running", reason="NodeLost"),
        {},
    ],
)
def test_pod_that_is_not_over(seen: dict[str, Any]) -> None:
    """A node that does not answer may run it on."""
    assert ending_of(seen, KEY) is None


@pytest.mark.parametrize(
    ("seen", "seconds", "says"),
    [
        (pod("Pending", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}), 120, "no such image"),
        (pod("Pending", {"waiting": {"reason": "InvalidImageName"}}), 0, "InvalidImageName"),
        (pod("Pending", {"waiting": {"reason": "ContainerCreating"}}), None, "being started"),
        (pod("Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                                     "message": "0/3 nodes have GPUs"}]), None, "0/3 nodes"),
    ],
)  # fmt: skip
def test_why_a_pod_waits_and_how_long_it_may(seen: dict[str, Any], seconds: float | None, says: str) -> None:
    waiting = waiting_of(seen)
    assert waiting is not None
    assert waiting.seconds == seconds
    assert says in waiting.reason


def test_pod_that_runs_or_is_over_waits_for_nothing() -> None:
    assert waiting_of(pod("Running", {"running": {}})) is None
    assert waiting_of(pod("Failed", over(1))) is None


def test_what_the_cluster_ends_by_itself_is_explained() -> None:
    assert all(detail for _, detail in POD_REASONS.values())


VALID = (
    pod("Failed", over(3), deleted=True, reason="Evicted", message="low"),
    pod("Pending", {"waiting": {"reason": "ErrImagePull"}}, conditions=[{"type": "PodScheduled", "status": "False"}]),
)


@pytest.mark.slow
@given(st.sampled_from(VALID).flatmap(bent))
def test_any_status_is_read_without_a_problem(seen: Any) -> None:
    if isinstance(seen, dict):
        ending_of(seen, KEY)
        waiting_of(seen)
        assert created(seen) >= 0
