"""What a job prints is told to the centre once, whenever the telling is ended."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from fedproc.common.errors import ToolFaultError
from fedproc.site.executors.base import Observation, Phase
from fedproc.site.jobs.execution import Execution


class Executor:
    """Standard error takes for ever to read, until ``slow`` is taken off it."""

    slow = True

    async def logs(self, handle: dict[str, Any], stream: str, *, offset: int = 0) -> Any:
        if stream == "stderr" and self.slow:
            await asyncio.sleep(3600)
        yield b"hello\n"[offset:]


async def test_what_was_read_when_the_look_was_ended_is_told_and_told_once() -> None:
    policy = SimpleNamespace(metrics=False, logs=True)
    settings, journal = SimpleNamespace(host="UB"), SimpleNamespace(epoch="one")
    executor = Executor()
    host: Any = SimpleNamespace(policy=policy, settings=settings, journal=journal, executor=executor)
    order = SimpleNamespace(experiment="e-" + "0" * 26)
    record: Any = SimpleNamespace(job="j-" + "0" * 26, order=order, tails={})
    saved: list[tuple[str, str]] = []
    execution = Execution(host, record, None, saved.extend, lambda: asyncio.sleep(0))  # type: ignore[arg-type]
    looking = asyncio.create_task(execution._tail_once({}))
    await asyncio.sleep(0.01)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    executor.slow = False
    await execution._tail_once({})
    told = [json.loads(body) for _, body in saved]
    assert [(one["stream"], one["sequence"], one["lines"]) for one in told] == [
        ("stdout", 1, ["hello"]),
        ("stderr", 1, ["hello"]),
    ]


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
    prepared = SimpleNamespace(task=SimpleNamespace(kind="batch", expected_exit_code=0, status=None))
    execution = Execution(None, None, prepared, None, None)  # type: ignore[arg-type]
    with pytest.raises(ToolFaultError) as caught:
        execution._judge(Observation(phase=Phase.exited, exit_code=code), last=True)
    assert said in str(caught.value)


def test_who_was_asked_to_end_and_did_not_was_killed_by_us() -> None:
    task = SimpleNamespace(kind="service", expected_exit_code=0, stop=SimpleNamespace(exit_codes=(143,)))
    execution = Execution(None, None, SimpleNamespace(task=task), None, None)  # type: ignore[arg-type]
    execution.finish.set()
    with pytest.raises(ToolFaultError) as caught:
        execution._judge(Observation(phase=Phase.exited, exit_code=137), last=True)
    assert str(caught.value).endswith("asked to end, it exited with 137 (SIGKILL)")
