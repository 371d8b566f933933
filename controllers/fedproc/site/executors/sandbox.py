"""The sandbox executor: bubblewrap and a virtual environment, for machines without a container engine.

The processes belong to the host's runner (:mod:`fedproc.site.executors.runner`); this is its client. Inside, the tool
is user 10001 in namespaces of its own; outside, each job has a user id of its own where the runner is root. A seccomp
filter keeps from it what namespaces do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fedproc.common.sockets import unix_address
from fedproc.site.executors.base import (
    ENVIRONMENT,
    WORK,
    ExecutorError,
    Handle,
    Observation,
    Spec,
)
from fedproc.site.executors.layout import layout_for
from fedproc.site.executors.records import kept_output, observation_of
from fedproc.site.executors.runner.server import VERSION

PATIENCE = 15.0
"""seconds that a runner which does not answer is waited for: its supervisor starts it again"""


class SandboxExecutor:
    """Implements :class:`fedproc.site.executors.base.Executor` over the runner's socket."""

    name = "sandbox"

    def __init__(self, runner: Path) -> None:
        self._folder = runner
        self._link = _Link(runner / "runner.sock")

    async def submit(self, spec: Spec) -> Handle:
        await self._ask(op="submit", spec=request_of(spec))
        return {"job": spec.job, "folder": str(self._folder / "jobs" / spec.job)}

    async def poll(self, handle: Handle, *, until_exit: bool = False) -> Observation:
        return observation_of(await self._ask(op="poll", job=handle["job"], until_exit=until_exit))

    def logs(self, handle: Handle, stream: str = "stdout", *, offset: int = 0) -> AsyncIterator[bytes]:
        return kept_output(Path(handle["folder"]), stream, offset)

    async def cancel(self, handle: Handle) -> None:
        await self._ask(op="cancel", job=handle["job"])

    async def discard(self, handle: Handle) -> None:
        await self._ask(op="discard", job=handle["job"])

    async def records(self) -> dict[str, tuple[float, int]]:
        found = (await self._ask(op="records"))["records"]
        return {name: (float(changed), int(size)) for name, (changed, size) in found.items()}

    async def _ask(self, **request: Any) -> Any:
        """Every request may be repeated: when a runner is lost, its successor is asked, with bounded patience."""
        while True:
            with contextlib.suppress(_LinkLostError):
                return await self._link.ask(**request)


def request_of(spec: Spec) -> dict[str, Any]:
    """What the runner is asked to start."""
    layout = layout_for(spec)
    mounts = list(layout.mounts)
    if spec.runtime:
        mounts.insert(0, (spec.runtime, str(ENVIRONMENT)))
    return {
        "job": spec.job,
        "command": layout.command,
        "environment": spec.environment | _gpu_environment(spec.limits.gpus),
        "mounts": mounts,
        "writable": layout.writable,
        "directory": str(WORK),
        "hosts": layout.hosts,
        "cpus": spec.limits.cpus,
        "memory": spec.limits.memory,
        "disk": spec.limits.disk,
        "pids": spec.limits.pids,
        "log": spec.limits.log,
        "devices": _gpu_nodes(spec.limits.gpus),
        "signal": spec.stop.signal,
        "grace": spec.stop.grace,
    }


def _gpu_environment(uuids: tuple[str, ...]) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": ",".join(uuids), "NVIDIA_VISIBLE_DEVICES": ",".join(uuids)} if uuids else {}


def _gpu_nodes(uuids: tuple[str, ...]) -> list[str]:
    if not uuids:
        return []
    import pynvml

    pynvml.nvmlInit()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
        return [f"/dev/nvidia{pynvml.nvmlDeviceGetMinorNumber(handle)}" for handle in handles]
    finally:
        pynvml.nvmlShutdown()


class _LinkLostError(Exception):
    """The connection to the runner ended while an answer was awaited."""


class _Link:
    """One connection to the runner for all that is asked; made again when it is lost."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: asyncio.StreamWriter | None = None
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._lock = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None

    async def ask(self, **request: Any) -> Any:
        """Ask and return the result. Raises :class:`ExecutorError` if the runner says no or is not there."""
        writer = await self._connected()
        number = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            writer.write(json.dumps({"v": VERSION, "id": number, **request}).encode() + b"\n")
            return await answer
        finally:
            self._asked.pop(number, None)

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._lock:
            if self._writer is None or self._writer.is_closing():
                reader, self._writer = await self._dial()
                self._reader = asyncio.create_task(self._read(reader, self._writer))
            return self._writer

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        until = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                with unix_address(self._path) as address:
                    return await asyncio.open_unix_connection(address, limit=1 << 20)
            except OSError as error:
                if asyncio.get_running_loop().time() > until:
                    raise ExecutorError(
                        f"the job runner does not answer at {self._path} ({error.strerror}): start it (fedproc runner)",
                        code="system_fault.runner",
                    ) from error
                await asyncio.sleep(0.1)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            while line := await reader.readline():
                answer = json.loads(line)
                pending = self._asked.get(answer["id"])
                if pending is None or pending.done():
                    continue
                if "error" in answer:
                    pending.set_exception(ExecutorError(f"the job runner: {answer['error']}"))
                else:
                    pending.set_result(answer["result"])
        writer.close()
        for pending in self._asked.values():
            if not pending.done():
                pending.set_exception(_LinkLostError())
