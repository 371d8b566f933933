"""How a step that has ended is judged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from tests.support.orchestrator import SECONDS, Host, S, order, record

from fedproc.common.errors import ToolFaultError
from fedproc.contract.times import now
from fedproc.contract.wire.messages import Used
from fedproc.site.executors.base import Observation, Phase, Usage
from fedproc.site.jobs.execution import Execution, _seconds_of
from fedproc.site.jobs.record import JobRecord
from fedproc.site.journal import Journal

WRITER: Any = SimpleNamespace(save=None)


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
    execution = Execution(None, None, prepared, WRITER, None)  # type: ignore[arg-type]
    with pytest.raises(ToolFaultError) as caught:
        execution._judge(Observation(phase=Phase.exited, exit_code=code), last=True)
    assert said in str(caught.value)


def test_who_was_asked_to_end_and_did_not_was_killed_by_us() -> None:
    task = SimpleNamespace(kind="service", metrics=(), expected_exit_code=0, stop=SimpleNamespace(exit_codes=(143,)))
    execution = Execution(None, None, SimpleNamespace(task=task, workspace=None), WRITER, None)  # type: ignore[arg-type]
    execution.finish.set()
    with pytest.raises(ToolFaultError) as caught:
        execution._judge(Observation(phase=Phase.exited, exit_code=137), last=True)
    assert str(caught.value).endswith("asked to end, it exited with 137 (SIGKILL)")


@pytest.mark.parametrize(
    ("printed", "kept"),
    [
        ({"stdout": b"begins\n", "stderr": b"Traceback\n  x\nKeyError: 'age'\n\n"}, "it said last: KeyError: 'age'"),
        ({"stdout": b"no such column\n", "stderr": b"\n"}, "it said last: no such column"),
        ({"stdout": b"", "stderr": b"x" * 9000}, "it said last: " + "x" * 400),
        ({"stdout": b"", "stderr": b""}, ""),
    ],
)
async def test_last_line_of_a_tool_that_failed_is_kept_for_the_hosts_log(printed: dict[str, bytes], kept: str) -> None:
    async def logs(_: Any, stream: str) -> AsyncIterator[bytes]:
        for start in range(0, len(printed[stream]), 7):
            yield printed[stream][start : start + 7]

    task = SimpleNamespace(kind="batch", expected_exit_code=0, status=None, metrics=(), prepare=())
    prepared = SimpleNamespace(task=task, workspace=None)
    services, record = SimpleNamespace(executor=SimpleNamespace(logs=logs)), SimpleNamespace(handle={}, step=0)
    execution = Execution(services, record, prepared, WRITER, None)  # type: ignore[arg-type]
    execution._discard_last = execution._step = execution._account = AsyncMock()  # type: ignore[method-assign]
    execution._step.return_value = Observation(phase=Phase.exited, exit_code=2)
    execution._account = lambda _: None  # type: ignore[method-assign]
    with pytest.raises(ToolFaultError, match="the command exited with 2") as caught:
        await execution.run()
    assert caught.value.detail["at_host"] == kept
    assert "KeyError" not in caught.value.message


async def test_daemon_that_is_lost_after_a_prepare_step_goes_on_with_the_next(tmp_path: Path, journal: Journal) -> None:
    host = Host(tmp_path, journal, ())
    host.tools.want(prepare=(("true",),))
    ordered = order()
    await host.orchestrator.accept(ordered)
    first = f"{ordered.job}-0"
    await host.runs(first)
    saved = await _when_lost(host, first)
    again = Host(tmp_path, journal, ())
    again.executor.running = host.executor.running
    again.tools.want(prepare=(("true",),))
    await journal.save(ordered.job, saved, [])
    await again.orchestrator.resume()
    await again.runs(ordered.job)
    async with asyncio.timeout(SECONDS):
        while first in again.executor.running:
            await asyncio.sleep(0.01)
    assert again.orchestrator.runs[ordered.job].record.state is S.running
    await again.orchestrator.close()


async def _when_lost(host: Host, step: str) -> dict[str, Any]:
    """What the journal has in the moment in which the executor has forgotten the step."""
    discard, found = host.executor.discard, asyncio.get_running_loop().create_future()

    async def lost(handle: dict[str, Any]) -> None:
        await discard(handle)
        found.set_result(await host.journal.known(step.rpartition("-")[0]))
        await asyncio.Event().wait()

    host.executor.discard = lost  # type: ignore[method-assign]
    host.executor.exit_code = 0
    host.executor.running[step].set()
    async with asyncio.timeout(SECONDS):
        saved = await found
    await host.orchestrator.close()
    return dict(saved)


def test_step_whose_end_is_seen_again_after_a_restart_counts_once() -> None:
    found = record(S.running)
    steps = Execution.__new__(Execution)
    steps._record = found
    first = Observation(Phase.exited, exit_code=0, seconds=10, usage=Usage(4.0, 700))
    for _ in range(2):
        steps._account(first)
    assert found.used == Used(seconds=10, cpu_seconds=4.0, memory_peak=700)
    found.step, found.used_before = 1, found.used
    again = JobRecord.model_validate(found.as_json())
    steps._record = again
    for _ in range(2):
        steps._account(Observation(Phase.exited, exit_code=0, seconds=5, usage=Usage(1.0, 300)))
    assert again.used == Used(seconds=15, cpu_seconds=5.0, memory_peak=700)


def test_time_that_a_step_ran_before_a_restart_counts_where_its_executor_says_when_it_began() -> None:
    began = (now() - timedelta(minutes=5)).isoformat()
    assert 299 < _seconds_of(Observation(Phase.running, started=began)) < 310
    assert _seconds_of(Observation(Phase.running, started=began, seconds=7.0)) == 7.0
    assert _seconds_of(Observation(Phase.running)) == 0.0
