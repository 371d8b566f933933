"""Runs probes side by side, each in a process of its own with a bound of its own.

A process, because a broken NVIDIA driver or a dead network filesystem can leave a call that no thread can be taken
out of, and because a driver library may crash. What does not end in time is killed and, if even that cannot end it,
left behind: it holds none of this program's files open.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedproc.onboarding.model.codec import decode, encode
from fedproc.onboarding.model.facts import Unknown


@dataclass(frozen=True)
class Task:
    """``run`` returns a record of class ``result``; ``limit`` is in seconds."""

    name: str
    run: Callable[[], Any]
    result: type
    limit: float


@dataclass
class _Child:
    task: Task
    pid: int
    pipe: int
    deadline: float
    answer: bytes = b""
    ended: bool = False


def run_all(tasks: list[Task], on_done: Callable[[str], None] = lambda name: None) -> dict[str, Any]:
    """The result of each task by its name, or :class:`Unknown` with what became of it. Never raises for a task.

    The calling process must not have other threads (it forks). ``on_done`` is called as each task ends.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    children = [_start(task) for task in tasks]
    results: dict[str, Any] = {}
    try:
        with selectors.DefaultSelector() as selector:
            for child in children:
                selector.register(child.pipe, selectors.EVENT_READ, child)
            _collect(selector, results, on_done)
    finally:
        for child in children:
            _end(child)
    return results


def _start(task: Task) -> _Child:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_the_child(task, write)
    os.close(write)
    return _Child(task, pid, read, time.monotonic() + task.limit)


def _be_the_child(task: Task, pipe: int) -> None:
    """Runs the task in a session of its own (so that what it started ends with it) and never returns."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(task.limit) + 2)  # should the parent be killed, nobody else ends this one
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        with os.fdopen(pipe, "wb") as out:
            out.write(json.dumps(_run(task)).encode())
        code = 0
    finally:
        os._exit(code)


def _run(task: Task) -> Any:
    try:
        return encode(task.run())
    except Exception as error:  # noqa: BLE001 - whatever it is, it becomes the reason that the report shows
        return encode(Unknown(f"the probe failed: {type(error).__name__}: {error}"[:1000]))


def _collect(selector: selectors.BaseSelector, results: dict[str, Any], on_done: Callable[[str], None]) -> None:
    while running := [key.data for key in selector.get_map().values()]:
        first = min(child.deadline for child in running)
        ready = [key.data for key, _ in selector.select(max(0.0, first - time.monotonic()))]
        late = [c for c in running if c not in ready and c.deadline <= time.monotonic()]
        for child in [c for c in ready if _read_to_end(c)] + late:
            selector.unregister(child.pipe)
            results[child.task.name] = _late(child) if child in late else _result(child)
            on_done(child.task.name)


def _read_to_end(child: _Child) -> bool:
    """True once the child has closed its end."""
    piece = os.read(child.pipe, 1 << 16)
    child.answer += piece
    child.ended = not piece
    return child.ended


def _result(child: _Child) -> Any:
    try:
        data = json.loads(child.answer)
        return decode(Unknown if set(data) == {"unknown"} else child.task.result, data)
    except ValueError:
        return Unknown(f"the probe {_how_it_ended(child.pid)} before it answered")


def _how_it_ended(pid: int) -> str:
    """Leaves the process to be waited for by :func:`_end`, so that its id stays its own until then."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    if ended is None or ended.si_code == os.CLD_EXITED:
        return f"stopped with exit code {ended.si_status if ended else 'unknown'}"
    return f"was ended by {signal.Signals(ended.si_status).name}"


def _late(child: _Child) -> Unknown:
    return Unknown(f"the probe did not answer within {child.task.limit:g} s")


def _end(child: _Child) -> None:
    """Kills what is left of the child and of what it started; waits only for one that is sure to end."""
    os.close(child.pipe)
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0 if child.ended else os.WNOHANG)
