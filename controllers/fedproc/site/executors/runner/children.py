"""The runner's child processes: those that it started, and those that were left to it by what it started.

The runner is the one to whom the kernel hands what a sandbox leaves behind (``PR_SET_CHILD_SUBREAPER``), so what it
did not start itself is reaped here as soon as it ends; else it would lie about as a zombie and take a process id.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

_started: set[int] = set()


def started(process: int) -> None:
    """Somebody here waits for this child, and reaps it; called before anything else can happen to it."""
    _started.add(process)


def reap(process: int) -> int:
    """The exit code of a child that has ended, or is about to; -n for one that signal n ended."""
    _started.discard(process)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def reap_left() -> None:
    """Reap what has ended and nobody here started; called when the kernel says that a child has ended."""
    for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        if (process := int(word)) not in _started:
            with suppress(ChildProcessError):
                os.waitpid(process, os.WNOHANG)


def was_left(process: int) -> bool:
    """Whether it is a child that nobody here started, and that is not reaped yet."""
    if process in _started:
        return False
    try:
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


async def gone(process: int) -> None:
    """Wait for the end of a child."""
    descriptor = os.pidfd_open(process)
    try:
        await readable(descriptor)
    finally:
        os.close(descriptor)


async def readable(descriptor: int) -> None:
    """Wait until there is something to read, or the other end is closed."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
