"""The end of a container: signals that reach it, and what its engine's word of it means."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff
from fedproc.site.executors.base import ExecutorError
from fedproc.site.executors.docker.client import Engine, EngineRefusedError

log = get_logger(__name__)
GONE = 404
NEVER_STARTED = "created"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_INIT_FAULT = "[FATAL tini"
_TAIL_BYTES = 500
_OOM_PAUSES = (0.0, 0.2, 0.8)
_START_TIME = 19
"""of the fields behind the name in ``/proc/PID/stat``"""


class Signals:
    """What one container is sent. One is lost while the engine is away, so it is sent again until ``ended`` says so.

    ``inspect`` asks the engine whether it has ended.
    """

    def __init__(
        self, engine: Engine, ended: Callable[[], bool], inspect: Callable[[], Awaitable[None]], *, sent: bool
    ) -> None:
        self.sent = sent
        """whether one was sent from here, by this daemon or one before"""
        self._engine = engine
        self._ended = ended
        self._inspect = inspect
        self._killing = False

    async def send(self, container: str, signal: str) -> bool:
        """Whether the engine took it. One that did not has ended, or its container has; both tell later."""
        self.sent = True
        try:
            await self._engine.call("kill", container, signal=signal)
        except ExecutorError:
            return False
        return True

    async def stop(self, container: str, signal: str, grace: float) -> None:
        """Send ``signal``, unless it is empty, until it is taken; after ``grace`` seconds :meth:`kill`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while signal and not await self.send(container, signal):
                    await asyncio.sleep(_FIRST_PAUSE)
                await asyncio.sleep(grace)
        await self.kill(container)

    async def kill(self, container: str) -> None:
        """SIGKILL to all of it until it has ended."""
        if self._killing:
            return
        self._killing, backoff = True, Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while not self._ended():
            await self.send(container, "SIGKILL")
            await asyncio.sleep(backoff.pause())
            if not self._ended():
                await self._inspect()


async def surely(engine: Engine, container: str) -> dict[str, Any] | None:
    """What the engine says of it, asked until it does; None if it knows it no more."""
    backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
    while True:
        try:
            found: dict[str, Any] = await engine.call("inspect_container", container)
        except ExecutorError as error:
            if isinstance(error, EngineRefusedError) and error.status == GONE:
                return None
            log.warning("container.not_seen", container=container, reason=error.message)
        else:
            return found
        await asyncio.sleep(backoff.pause())


async def killed_state(engine: Engine, container: str, explained: Callable[[], bool]) -> dict[str, Any]:
    """How the engine saw one that ended by SIGKILL; empty if it does not say.

    Podman has no event that says that memory was short, and Docker's may come behind the end: unless the end is
    ``explained``, that is waited for. Docker hears of memory from a moment after the start on: a program that needs too
    much in its very first steps has then been killed, and nobody says why.
    """
    state: dict[str, Any] = {}
    for pause in _OOM_PAUSES:
        await asyncio.sleep(pause)
        with contextlib.suppress(ExecutorError):
            state = (await engine.call("inspect_container", container))["State"]
        if state.get("OOMKilled") or explained():
            break
    return state


async def remove(engine: Engine, container: str) -> None:
    """Remove it with its processes; one that is gone stays gone. Raises as :meth:`Engine.call`."""
    try:
        await engine.call("remove_container", container, force=True, v=True)
    except EngineRefusedError as error:
        if error.status != GONE:
            raise


def is_gone(state: dict[str, Any]) -> bool:
    """Whether the first process of a container, as its engine knows it, is not on this machine any more."""
    return not Path(f"/proc/{state['Pid']}").exists()


def seconds_since_start(state: dict[str, Any]) -> float:
    """How long it has been running, by the age of its first process: this machine's clock may have been set since."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{state['Pid']}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return max(0.0, _uptime() - int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK"))
    return _possible(datetime.now(UTC) - datetime.fromisoformat(state["StartedAt"]))


def seconds_run(state: dict[str, Any]) -> float:
    """How long one that has ended was running, by the engine's clock."""
    return _possible(datetime.fromisoformat(state["FinishedAt"]) - datetime.fromisoformat(state["StartedAt"]))


def words_of_init(folder: Path) -> str:
    """Why the container's init could not start the command, if it said so."""
    with contextlib.suppress(FileNotFoundError):
        text = (folder / "stderr").read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
        return text if text.startswith(_INIT_FAULT) else ""
    return ""


def _possible(span: Any) -> float:
    """Seconds between two moments of a clock that may have been set: no container runs longer than its machine."""
    return min(max(0.0, float(span.total_seconds())), _uptime())


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
