"""What the page of an experiment says of jobs that have not begun."""

from __future__ import annotations

from fedproc.central.api.pages.experiments import earlier
from fedproc.contract.api.tools import TaskView


def test_a_task_comes_after_those_that_must_have_ended_and_beside_those_that_are_ready() -> None:
    needs = [{"task": "count", "condition": "exited"}, {"task": "server", "condition": "ready"}]
    task = TaskView.model_validate(
        {"tool": "learn", "version": "1.0.0", "name": "add", "kind": "batch", "command": ["x"], "runtime": {},
         "placement": "server", "resources": {}, "needs": needs}
    )  # fmt: skip
    assert earlier(task) == ["count"]
