"""Locks between processes: one holder, whatever becomes of the lock's file."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from fedproc.common.locks import async_file_locked, file_locked


@pytest.mark.slow
def test_who_waited_for_a_lock_whose_file_was_removed_waits_for_the_new_one(tmp_path: Path) -> None:
    path, inside = tmp_path / "x.lock", threading.Event()

    def wait() -> None:
        with file_locked(path):
            inside.set()

    waiter = threading.Thread(target=wait)
    with ExitStack() as second:
        with file_locked(path):
            waiter.start()
            time.sleep(0.2)
            path.unlink()
            second.enter_context(file_locked(path))
        assert not inside.wait(0.3)
    assert inside.wait(5)
    waiter.join()


@pytest.mark.slow
async def test_the_waiter_in_a_loop_does_as_well(tmp_path: Path) -> None:
    path, inside = tmp_path / "x.lock", asyncio.Event()

    async def wait() -> None:
        async with async_file_locked(path):
            inside.set()

    with ExitStack() as second:
        with file_locked(path):
            waiter = asyncio.create_task(wait())
            await asyncio.sleep(0.2)
            path.unlink()
            second.enter_context(file_locked(path))
        await asyncio.sleep(0.3)
        assert not inside.is_set()
    async with asyncio.timeout(5):
        await waiter


@pytest.mark.slow
async def test_a_wait_for_a_lock_may_be_given_up(tmp_path: Path) -> None:
    async def wait() -> None:
        async with async_file_locked(tmp_path / "x.lock"):
            raise AssertionError("held by another")

    with file_locked(tmp_path / "x.lock"):
        waiter = asyncio.create_task(wait())
        await asyncio.sleep(0.15)
        waiter.cancel()
        await asyncio.wait([waiter], timeout=5)
    assert waiter.cancelled()
