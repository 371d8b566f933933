"""What one container prints, read from its engine and kept in files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff
from fedproc.site.executors.base import ExecutorError
from fedproc.site.executors.docker.client import Engine
from fedproc.site.executors.docker.output import OutputFile, read_frames

log = get_logger(__name__)
_STREAMS = {1: "stdout", 2: "stderr"}
_SECONDS = 30
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
Go = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class KeptOutput:
    """The output of one container in ``folder``; tasks are started by ``go``, and ``at_end`` is called at its end."""

    def __init__(self, engine: Engine, folder: Path, limit: int, go: Go, at_end: Callable[[], Awaitable[None]]) -> None:
        self.adopted = False
        """whether it is read by a daemon that did not start the container"""
        self._engine = engine
        self._files = {number: OutputFile(folder / name, limit) for number, name in _STREAMS.items()}
        self._go = go
        self._at_end = at_end
        self._reading: asyncio.Task[None] | None = None

    @property
    def dropped(self) -> int:
        """Bytes that were not kept."""
        return sum(file.dropped for file in self._files.values())

    @property
    def over(self) -> bool:
        """Whether it was read, and is no more."""
        return self._reading is not None and self._reading.done()

    async def attach(self, container: str, *, begun: bool = True, running: bool = True) -> None:
        """Read it from its beginning. Raises ExecutorError; see :meth:`Engine.attach`."""
        self.cancel()
        reader, writer = await self._engine.attach(container, begun=begun, running=running)
        for file in self._files.values():
            file.begin()
        self._reading = self._go(self._read(reader, writer))

    async def attach_again(self, container: str) -> None:
        """The same as often as it takes."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                await self.attach(container)
            except ExecutorError as error:
                log.warning("container.no_output", container=container, reason=error.message)
                await asyncio.sleep(backoff.pause())
            else:
                return

    async def finish(self, container: str) -> None:
        """Wait until all is kept of one that has ended."""
        if self._reading is None:
            return
        if self.adopted and (await self._engine.nature()).podman:  # which does not end what it shows of its log
            self._reading.cancel()
            with contextlib.suppress(ExecutorError):
                await self.attach(container, running=False)
        await asyncio.wait({self._reading}, timeout=_SECONDS)

    def cancel(self) -> None:
        """Read it no more."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await read_frames(reader, self._files)
        finally:
            writer.close()
        await self._at_end()
