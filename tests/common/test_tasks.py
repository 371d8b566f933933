"""Work that goes on side by side."""

from __future__ import annotations

import asyncio

import pytest

from fedproc.common import tasks
from fedproc.common.errors import InvalidInputError, UnavailableError
from fedproc.common.tasks import kept_up, run_together, watched


async def fails_after(seconds: float, error: Exception) -> None:
    await asyncio.sleep(seconds)
    raise error


async def test_first_error_ends_the_others_and_is_raised_itself() -> None:
    with pytest.raises(UnavailableError, match="cut"):
        await run_together(asyncio.sleep(60), fails_after(0, UnavailableError("cut")))
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling(), "the caller goes on as if nothing had been cancelled"


async def test_error_that_nobody_foresaw_goes_before_others() -> None:
    with pytest.raises(KeyError):
        await run_together(fails_after(0, UnavailableError("cut")), fails_after(0, KeyError("unforeseen")))


async def test_cancelled_caller_ends_as_cancelled_though_a_child_fails_with_it() -> None:
    async def fails_when_cancelled() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise UnavailableError("the broker went away in the same moment")

    running = asyncio.create_task(run_together(fails_when_cancelled(), asyncio.sleep(60)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_task_that_nobody_awaits_tells_what_ended_it(caplog: pytest.LogCaptureFixture) -> None:
    task = watched(asyncio.create_task(fails_after(0, KeyError("unforeseen"))), "leftovers.not_removed", job="j-1")
    ended = watched(asyncio.create_task(asyncio.sleep(60)), "other.failed")
    ended.cancel()
    await asyncio.wait({task, ended})
    await asyncio.sleep(0)
    assert "leftovers.not_removed" in caplog.text
    assert "unforeseen" in caplog.text
    assert "other.failed" not in caplog.text


async def test_work_that_something_unforeseen_ends_is_begun_again_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "_FIRST_PAUSE", 0.001)
    faults = [
        RuntimeError("can't start new thread"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"),
        OSError(11, "x"),
    ]

    async def work() -> None:
        if faults:
            raise faults.pop(0)

    await kept_up("heartbeat", work)
    assert faults == []
    assert caplog.text.count("loop.failed") == 3


async def test_work_whose_settings_are_wrong_ends() -> None:
    with pytest.raises(InvalidInputError):
        await kept_up("socket", lambda: fails_after(0, InvalidInputError("there is no such group")))
