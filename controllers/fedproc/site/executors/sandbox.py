"""The sandbox executor: bubblewrap and a virtual environment, for machines without a container engine.

The processes belong to the host's runner (:mod:`fedproc.site.executors.runner`); this is its client. Inside, the tool
is user 10001 in namespaces of its own; outside, each job has a user id of its own where the runner is root. A seccomp
filter keeps from it what namespaces do not.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fedproc.common.log import get_logger
from fedproc.common.sockets import unix_address
from fedproc.common.tasks import fail, settle
from fedproc.site.executors.base import (
    ENVIRONMENT,
    WORK,
    ExecutorError,
    Handle,
    Observation,
    Offer,
    Spec,
)
from fedproc.site.executors.device_nodes import GpuNodes
from fedproc.site.executors.image_root import ImageRoot, image_root
from fedproc.site.executors.layout import PYTHON, layout_for
from fedproc.site.executors.records import kept_output, observation_of
from fedproc.site.executors.runner.server import LINE, VERSION

log = get_logger(__name__)

PATIENCE = 15.0
"""seconds that a runner which is not there is waited for: its supervisor starts it again"""
ANSWER_SECONDS = 60.0
WORK_SECONDS = 600.0
"""for what takes longer: folders of many files are given to the job's user, or removed"""
PYTHON_OF_IMAGES = "python3"
"""of the image's own PATH, for the inside end of connections"""
_LOST_PAUSE = 0.2
_NO_JOB = "j-00000000000000000000000000"


class SandboxExecutor:
    """Implements :class:`fedproc.site.executors.base.Executor` over the runner's socket."""

    name = "sandbox"
    by = ""
    """what the runner starts its jobs by, if not by bubblewrap alone"""

    def __init__(self, runner: Path) -> None:
        self._folder = runner
        self._link = _Link(runner / "runner.sock")
        self._gpu_nodes = GpuNodes()

    async def submit(self, spec: Spec) -> Handle:
        devices = await self._gpu_nodes.of(spec.limits.gpus)
        order = await asyncio.to_thread(request_of, spec, devices, self.by)
        await self._ask(WORK_SECONDS, op="submit", spec=order)
        return {"job": spec.job, "folder": str(self._folder / "jobs" / spec.job)}

    async def poll(self, handle: Handle, *, until_exit: bool = False) -> Observation:
        if not until_exit:
            return observation_of(await self._ask(ANSWER_SECONDS, op="poll", job=handle["job"]))
        waiting = asyncio.create_task(self._ask(None, op="poll", job=handle["job"], until_exit=True))
        try:
            while not (await asyncio.wait({waiting}, timeout=ANSWER_SECONDS))[0]:
                await self._tell_if_silent(handle)
            return observation_of(await waiting)
        finally:
            waiting.cancel()

    async def _tell_if_silent(self, handle: Handle) -> None:
        """A runner that hangs is told while a job runs: it would not say that the job has ended."""
        try:
            await self._ask(ANSWER_SECONDS, op="poll", job=handle["job"])
        except ExecutorError as error:
            log.error("runner.silent", job=handle["job"], reason=error.message)

    def logs(self, handle: Handle, stream: str = "stdout", *, offset: int = 0) -> AsyncIterator[bytes]:
        return kept_output(Path(handle["folder"]), stream, offset)

    async def cancel(self, handle: Handle) -> None:
        await self._ask(ANSWER_SECONDS, op="cancel", job=handle["job"])

    async def discard(self, handle: Handle) -> None:
        await self._ask(WORK_SECONDS, op="discard", job=handle["job"])

    async def offer(self) -> Offer:
        try:
            await self._ask(ANSWER_SECONDS, op="poll", job=_NO_JOB)
        except ExecutorError as error:
            return Offer(obstacle=error.message)
        return Offer("bubblewrap, by this host's job runner")

    async def records(self) -> dict[str, tuple[float, int]]:
        found = (await self._ask(ANSWER_SECONDS, op="records"))["records"]
        return {name: (float(changed), int(size)) for name, (changed, size) in found.items()}

    async def _ask(self, seconds: float | None, **request: Any) -> Any:
        """Every request may be repeated: when a runner is lost, its successor is asked, with bounded patience.

        Raises :class:`ExecutorError` where there is no answer after so many ``seconds``, over however many links.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        return await self._link.ask(**request)
                    except _LinkLostError:
                        await asyncio.sleep(_LOST_PAUSE)
        except TimeoutError:
            raise ExecutorError(
                f"the job runner has not answered to {request['op']!r} for {seconds:g} s: see its log, and restart"
                " it (fedproc runner), which ends the jobs that run",
                code="system_fault.runner",
            ) from None


def request_of(spec: Spec, devices: list[str], by: str = "") -> dict[str, Any]:
    """What the runner is asked to start, with these device files. Blocks; raises :class:`ExecutorError`."""
    image = _image_of(spec)
    layout = layout_for(spec, PYTHON_OF_IMAGES if image else PYTHON)
    mounts = list(layout.mounts)
    if spec.runtime and image is None:
        mounts.insert(0, (spec.runtime, str(ENVIRONMENT)))
    variables = spec.environment | _gpu_environment(spec.limits.gpus)
    return {
        "job": spec.job,
        "command": layout.command,
        "environment": image.environment | variables if image else variables,
        "mounts": mounts,
        "writable": layout.writable,
        "directory": str(WORK),
        "hosts": layout.hosts,
        "cpus": spec.limits.cpus,
        "memory": spec.limits.memory,
        "disk": spec.limits.disk,
        "pids": spec.limits.pids,
        "log": spec.limits.log,
        "devices": devices,
        "signal": spec.stop.signal,
        "grace": spec.stop.grace,
        # What a runner of the release before does not know:
        **({"root": str(image.root)} if image else {}),
        **({"by": by} if by else {}),
    }


def _image_of(spec: Spec) -> ImageRoot | None:
    try:
        return image_root(spec.runtime)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExecutorError(
            f"the unpacked image {spec.runtime} cannot be read ({error}): remove it, it is made again",
            code="system_fault.image",
        ) from error


def _gpu_environment(uuids: tuple[str, ...]) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": ",".join(uuids), "NVIDIA_VISIBLE_DEVICES": ",".join(uuids)} if uuids else {}


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
        """Ask and return the result.

        Raises :class:`ExecutorError` if the runner says no or is not there, or could not read so long a request.
        """
        number = next(self._ids)
        line = json.dumps({"v": VERSION, "id": number, **request}).encode()
        if len(line) > LINE:  # the runner would end the link, and so what others ask on it
            raise ExecutorError(
                f"what the job runner is asked ({request['op']}) takes {len(line)} bytes, more than the {LINE} that it"
                " reads: the tool's command or variables are too long"
            )
        writer = await self._connected()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            writer.write(line + b"\n")
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
        """Whatever ends it, nobody waits on for an answer that cannot come."""
        try:
            while line := await reader.readline():
                self._answered(json.loads(line))
        except (ConnectionError, ValueError, LookupError, TypeError) as error:
            log.warning("runner.link_lost", reason=str(error) or type(error).__name__)
        finally:
            writer.close()
            for pending in self._asked.values():
                fail(pending, _LinkLostError())

    def _answered(self, answer: dict[str, Any]) -> None:
        pending = self._asked.get(answer["id"])
        if pending is None:
            return
        if "error" in answer:
            fail(pending, ExecutorError(f"the job runner: {answer['error']}"))
        else:
            settle(pending, answer["result"])
