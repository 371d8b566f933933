"""Experiments that need several hosts at once, and a connection that is cut."""

from __future__ import annotations

import subprocess
import tomllib
from contextlib import ExitStack, contextmanager

import psutil
import pytest

TWO = ["UB:wisconsin", "BSC:wisconsin"]


@contextmanager
def room_for_one(running, *hosts):
    """All CPUs but one are taken."""
    takers = [running.start("host-acceptance", hosts=list(hosts), seconds=110) for _ in range(6)]
    for experiment in takers:
        for host in hosts:
            running.wait_for(experiment, f"look@{host}", "running")
    try:
        yield
    finally:
        for experiment in takers:
            running.researcher.cancel(experiment.id)
            running.end(experiment)


def test_two_that_need_the_same_two_hosts_with_room_for_one_job_both_end(running):
    with ExitStack() as stack:
        stack.enter_context(room_for_one(running, "UB", "BSC"))
        for _ in range(2):
            both = [running.start("flower-logistic", datasets=order, rounds=2) for order in (TWO, TWO[::-1])]
            assert [running.end(experiment)[-1].state for experiment in both] == ["succeeded", "succeeded"]


def test_a_clients_connection_is_cut_in_mid_round_and_both_ends_live(running):
    """Whether the client comes back or its server gives it up: the run ends, as its ``on_host_lost`` says."""
    experiment = running.start("flower-logistic", datasets=TWO, rounds=12, local_steps=2000, round_seconds=20)
    rounds = (event for event in running.researcher.events(experiment.id) if event.metrics and "loss" in event.metrics)
    next(rounds)
    cut_connections(running, "UB")
    events = running.end(experiment)
    states = {name: (job.state, job.reason) for name, job in running.jobs(experiment).items()}
    if events[-1].state == "succeeded":
        assert {state for state, _ in states.values()} == {"succeeded"}, states
    else:
        assert events[-1].state == "failed", states
        assert "failed" in {state for state, _ in states.values()} <= {"failed", "cancelled"}, states
        assert all(reason for _, reason in states.values()), states
    for host in ("UB", "BSC", "EUCAIM"):
        assert not [path for path in running.leftovers(host) if any(job.id in path for job in experiment.jobs)]


def cut_connections(running, host):
    """Reset every connection of the host's orchestrator to the aggregator."""
    settings = tomllib.loads((running.folder / "host-EUCAIM.toml").read_text())
    port = settings["connections"]["listen_port"]

    def there():
        found = psutil.Process(running.pid(f"orchestrator-{host}")).net_connections("tcp")
        return [one.laddr.port for one in found if one.raddr and one.raddr.port == port and one.status == "ESTABLISHED"]

    cut = there()
    assert cut
    for own in cut:
        subprocess.run(
            ["ss", "-K", "sport", "=", f":{own}", "dport", "=", f":{port}"], capture_output=True, check=False
        )
    if set(there()) & set(cut):
        pytest.skip("this kernel resets no connection for others (CONFIG_INET_DIAG_DESTROY)")


def test_a_client_is_lost_in_mid_round(running):
    experiment = running.start("flower-logistic", datasets=TWO, rounds=1000, local_steps=2000)
    rounds = (event for event in running.researcher.events(experiment.id) if event.metrics and "loss" in event.metrics)
    next(rounds)
    running.kill("orchestrator-UB")
    events = running.end(experiment)
    assert events[-1].state == "failed"
    states = {name: (job.state, job.reason) for name, job in running.jobs(experiment).items()}
    assert states["client@UB"][0] == "failed"
    assert states["client@BSC"][0] in ("failed", "cancelled")
    for host in ("UB", "BSC", "EUCAIM"):
        assert not [path for path in running.leftovers(host) if any(job.id in path for job in experiment.jobs)]
