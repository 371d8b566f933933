"""Each task has its selector, and a host that cannot be chosen says why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fedproc.central.api.pages.choices import Choice, Federation, Selector, obstacle, selectors
from fedproc.contract.api.hosts import DatasetView, HostView
from fedproc.contract.api.tools import TaskView, ToolView

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
TABLE = {"name": "table", "kind": "dataset"}


def host(name: str = "UB", *roles: str, **more: Any) -> HostView:
    usual: dict[str, Any] = {
        "id": name, "roles": list(roles or ("data",)), "active": True, "alive": True, "condition": "accepting",
        "last_heartbeat": datetime.now(UTC), "tools": [{"id": "learn", "digest": DIGEST}],
        "capacity": {"cpus": 4, "cpus_free": 4, "memory": 8 * 10**9, "memory_free": 0, "disk": 1, "disk_free": 1},
    }  # fmt: skip
    return HostView.model_validate({**usual, **more})


def task(name: str = "work", placement: str = "client", **more: Any) -> TaskView:
    usual: dict[str, Any] = {"tool": "learn", "version": "1.0.0", "kind": "batch", "command": ["x"], "runtime": {}}
    return TaskView.model_validate({**usual, "name": name, "placement": placement, "resources": {}, **more})


TOOL = ToolView(
    id="learn", version="1.0.0", digest=DIGEST, name="Learn", description="", mode="federated", href="",
    versions=["1.0.0"], parameters={}, on_host_lost={}, biotools={}, survey={}, tasks=[],
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, ""),
        ({"alive": False, "last_heartbeat": None}, "never heard of"),
        ({"accepted": False}, "has not passed its acceptance"),
        ({"condition": "holding", "condition_text": "the disk is full"}, "takes no jobs now: the disk is full"),
        ({"condition": "stopped"}, "takes no jobs now: stopped"),
        ({"tools": []}, "its site does not admit learn"),
        ({"tools": [{"id": "learn", "digest": OTHER}]}, "admits another version of learn, not 1.0.0"),
        ({"tools": [{"id": "learn", "digest": None}]}, ""),
        ({"roles": ["compute"]}, "the task runs on hosts enrolled as data"),
        ({"capacity": None}, ""),
    ],
)
def test_a_host_says_why_it_cannot_be_chosen(changed: dict[str, Any], reason: str) -> None:
    found = obstacle(host(**{"roles": ["data"], **changed}), TOOL, [task()])
    assert reason in found if reason else found == ""


def test_a_silent_host_says_since_when() -> None:
    silent = host(roles=["data"], alive=False, last_heartbeat=datetime.now(UTC) - timedelta(minutes=5, seconds=20))
    assert "offline: last heard of 5 minutes" in obstacle(silent, TOOL, [task()])


def test_choice_of_a_dataset_at_a_silent_host_is_kept_and_waits_for_it() -> None:
    silent = host(roles=["data"], alive=False, last_heartbeat=datetime.now(UTC) - timedelta(minutes=5, seconds=20))
    cohort = DatasetView(id="UB:cohort", host="UB", version="1", available=False)
    (found,) = selectors(TOOL, [task(inputs=[TABLE])], Federation([silent], [cohort], "EUCAIM"), [], ["UB:cohort"])
    (choice,) = found.choices
    assert (choice.obstacle, choice.chosen, choice.datasets) == ("", True, ((cohort, True),))
    assert choice.note.startswith("offline: last heard of 5 minutes")
    assert choice.note.endswith("; its job waits until it is back")
    gone = host(roles=["data"], alive=False, last_heartbeat=None)
    (found,) = selectors(TOOL, [task(inputs=[TABLE])], Federation([gone], [cohort], "EUCAIM"), [], ["UB:cohort"])
    assert found.choices[0].obstacle == "it was never heard of"


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ({"cpus": 8}, "needs 8 CPUs, it has 4"),
        ({"memory_mb": 9000}, "needs 9000 MB of memory, it has 8000"),
        ({"gpu": {"count": 1}}, "needs 1 GPU, it has 0"),
        ({"cpus": 4, "memory_mb": 8000}, ""),
    ],
)
def test_a_host_that_is_too_small_says_so(needs: dict[str, Any], reason: str) -> None:
    found = obstacle(host(), TOOL, [task(resources=needs)])
    assert reason in found if reason else found == ""


def made(*tasks: TaskView, chosen: tuple[str, ...] = (), datasets: tuple[str, ...] = ()) -> list[Selector]:
    offered = [
        DatasetView(id="UB:cohort", host="UB", version="1"),
        DatasetView(id="BSC:cohort", host="BSC", version="1"),
    ]
    hosts = [
        host("UB"),
        host("BSC", alive=False),
        host("FORTH"),
        host("EUCAIM", "aggregator"),
        host("SPARE", "aggregator"),
    ]
    return selectors(TOOL, tasks, Federation(hosts, offered, "EUCAIM"), chosen, datasets)


def of(selector: Selector, name: str) -> Choice:
    return next(choice for choice in selector.choices if choice.host == name)


def test_server_tasks_have_their_host() -> None:
    server = made(task("server", "server"), task())[0]
    assert server.takes == "nothing"
    assert of(server, "EUCAIM").chosen
    assert "places server tasks on EUCAIM" in of(server, "SPARE").obstacle


def test_datasets_are_chosen_with_their_hosts() -> None:
    clients = made(task("server", "server"), task(inputs=[TABLE]), datasets=("UB:cohort",))[1]
    assert clients.takes == "datasets"
    assert of(clients, "UB").chosen
    assert [is_chosen for _, is_chosen in of(clients, "UB").datasets] == [True]
    assert of(clients, "FORTH").obstacle == "it offers no dataset"
    assert clients.choices[0].host == "UB"  # what can be chosen comes first
    assert not clients.is_stuck


def test_a_dataset_that_need_not_be_leaves_both_choices() -> None:
    assert made(task(inputs=[{**TABLE, "optional": True}]))[0].takes == "both"


def test_hosts_alone_are_chosen_where_no_task_takes_data() -> None:
    [worker] = made(task(placement="worker"), chosen=("FORTH",))
    assert worker.takes == "hosts"
    assert [choice.host for choice in worker.choices if choice.chosen] == ["FORTH"]
    assert of(worker, "UB").datasets == ()


def test_tasks_at_the_same_hosts_are_chosen_once() -> None:
    first, second = made(task("first"), task("second"))
    assert (first.same_as, second.same_as) == ("", "first")
