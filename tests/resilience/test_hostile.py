"""A tool that misbehaves ends as the state table says, with a message that helps, and disturbs no other job."""

from __future__ import annotations

import pytest
from tests.resilience.once import ended_once

ENDS = {
    "crash": ("failed", "tool_fault.exit_code", "exited with"),
    "hang": ("failed", "tool_fault.time_limit", "limit of 6 s"),
    "write_10_gb": ("failed", "tool_fault.limit_disk", "disk"),
    "fork_without_end": ("failed", "tool_fault.limit_pids", "processes"),
    "print_binary": ("succeeded", None, ""),
    "write_outside": ("failed", "tool_fault.exit_code", "exited with 4"),
    "link_outside": ("failed", "tool_fault", "result"),
    "eat_memory": ("failed", "tool_fault.limit_memory", "memory"),
}


@pytest.mark.parametrize("behaviour", ENDS)
def test_it_ends_alone(running, tmp_path, behaviour):
    state, code, said = ENDS[behaviour]
    neighbour = running.start("tally", hosts=["UB"], seconds=4)
    experiment = running.start("hostile", hosts=["UB"], behaviour=behaviour)
    running.end(experiment)
    job = running.jobs(experiment)["work@UB"]
    assert (job.state, job.code or "") == (state, job.code or "")
    assert (job.code or "").startswith(code or "")
    assert said in (job.reason or "")
    ended_once(running, neighbour, tmp_path)
