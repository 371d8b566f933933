"""How a step that has ended is judged."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fedproc.common.errors import ToolFaultError
from fedproc.site.executors.base import Observation, Phase
from fedproc.site.jobs.execution import Execution


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (3, "exited with 3, expected 0"),
        (137, "exited with 137 (SIGKILL: the kernel sends it for want of memory; if that is so, ask for more"),
        (139, "exited with 139 (SIGSEGV), expected 0"),
        (255, "exited with 255, expected 0"),
    ],
)
def test_a_signal_is_named(code: int, said: str) -> None:
    prepared = SimpleNamespace(
        task=SimpleNamespace(kind="batch", expected_exit_code=0, status=None, metrics=()), workspace=None
    )
    execution = Execution(None, None, prepared, None, None)  # type: ignore[arg-type]
    with pytest.raises(ToolFaultError) as caught:
        execution._judge(Observation(phase=Phase.exited, exit_code=code), last=True)
    assert said in str(caught.value)


def test_who_was_asked_to_end_and_did_not_was_killed_by_us() -> None:
    task = SimpleNamespace(kind="service", metrics=(), expected_exit_code=0, stop=SimpleNamespace(exit_codes=(143,)))
    execution = Execution(None, None, SimpleNamespace(task=task, workspace=None), None, None)  # type: ignore[arg-type]
    execution.finish.set()
    with pytest.raises(ToolFaultError) as caught:
        execution._judge(Observation(phase=Phase.exited, exit_code=137), last=True)
    assert str(caught.value).endswith("asked to end, it exited with 137 (SIGKILL)")
