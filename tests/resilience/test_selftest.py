"""``federation-selftest`` in a federation: whatever a host does, the experiment ends, and nothing is left behind."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import tomli_w
from tests.support.running import Running

from fedproc.demo.polling import wait_until

pytestmark = [pytest.mark.needs_federation, pytest.mark.timeout(900)]

HOSTS = ["UB", "BSC"]


def _is_clean(running: Running) -> None:
    for host in (*HOSTS, "EUCAIM"):
        wait_until(lambda host=host: running.leftovers(host) == [], 60, f"{host} keeps folders of ended jobs")


@pytest.mark.parametrize("fault", ["exit", "hang", "nonsense", "other_shape"])
def test_a_host_that_fails_ends_the_experiment_and_nothing_is_left(running: Running, fault: str) -> None:
    started = running.start("federation-selftest", hosts=HOSTS, fault=fault, host="BSC", round=2, round_seconds=10)
    assert running.end(started)[-1].state == "failed"
    jobs = running.jobs(started)
    assert jobs["client@UB"].state in {"failed", "cancelled"}
    first = jobs["client@BSC"] if fault == "exit" else jobs["server@EUCAIM"]
    assert first.state == "failed", {name: (job.state, job.reason) for name, job in jobs.items()}
    assert running.researcher.results(started.id) == []
    _is_clean(running)


@pytest.mark.parametrize(
    ("tool", "parameters"),
    [
        ("federation-selftest", {"fault": "hang", "host": "BSC", "round_seconds": 3600}),
        ("flower-clinical", {"formula": "blood_pre ~ PM25 + age", "missing": "leave_out", "rounds": 1000}),
    ],
)
def test_a_training_that_is_cancelled_leaves_nothing(running: Running, tool: str, parameters: dict) -> None:
    datasets = [] if tool == "federation-selftest" else [f"{host}:clinical" for host in HOSTS]
    started = running.start(tool, hosts=HOSTS, datasets=datasets, **parameters)
    running.wait_for(started, "client@BSC", "running", 600)
    running.researcher.cancel(started.id)
    assert running.end(started)[-1].state == "cancelled"
    assert all(job.state in {"cancelled", "failed"} for job in running.jobs(started).values())
    _is_clean(running)


@contextmanager
def _budget(running: Running, host: str, tool: str, max_mb: float) -> Iterator[None]:
    """What the host's policy lets over the tool's connections, for a while."""
    path, supervisor = running.folder / f"policy-{host}.toml", running.federation.supervisor
    before = path.read_text()
    policy = tomllib.loads(before)
    for rule in policy["tools"]:
        if rule["id"] == tool:
            rule["connections"] = [{**each, "max_mb": max_mb} for each in rule["connections"]]
    try:
        path.write_text(tomli_w.dumps(policy))
        supervisor.signal(f"orchestrator-{host}", "HUP")
        yield
    finally:
        path.write_text(before)
        supervisor.signal(f"orchestrator-{host}", "HUP")


def test_more_than_the_sites_budget_is_cut_and_ends_the_training(running: Running) -> None:
    """A hundred rounds are some 60 kB from a host; the site allows 20."""
    with _budget(running, "UB", "federation-selftest", 0.02):
        started = running.start("federation-selftest", hosts=HOSTS, rounds=100)
        assert running.end(started)[-1].state == "failed"
    [use] = running.jobs(started)["client@UB"].connections
    assert use.cut == "more than the 20000 bytes that the site's policy allows"
    assert running.researcher.results(started.id) == []
    _is_clean(running)


def test_without_a_fault_it_succeeds(running: Running) -> None:
    started = running.start("federation-selftest", hosts=HOSTS)
    events = running.end(started)
    assert events[-1].state == "succeeded", [event.reason for event in events if event.reason]
    losses = [event.metrics["loss"] for event in events if event.metrics and "loss" in event.metrics]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == 3
