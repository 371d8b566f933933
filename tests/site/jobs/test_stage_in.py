"""What a job is told before it starts."""

from __future__ import annotations

from fedproc.contract.wire.messages import Peer
from fedproc.site.jobs.stage_in import hosts_at_start

JOB = "j-" + "0" * 26


def test_a_gang_is_told_the_hosts_that_are_left() -> None:
    placed = {"server": ("EUCAIM",), "client": ("UB", "BSC"), "other": ("FORTH",)}
    peers = [Peer(task="client", job=JOB, host="UB")]
    assert hosts_at_start(placed, peers) == {"server": ["EUCAIM"], "client": ["UB"], "other": ["FORTH"]}
    assert hosts_at_start(placed, []) == {task: list(hosts) for task, hosts in placed.items()}
