"""Experiments that need several hosts at once, and a connection that is cut."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

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


def test_a_clients_connection_is_cut_in_mid_round(running):
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
