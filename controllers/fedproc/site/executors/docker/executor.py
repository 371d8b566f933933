"""The Docker executor: a container per job, by an engine that speaks Docker's API on a unix socket.

Containers are named after their jobs and carry a label of the host's folder. Completion comes from the engine's event
stream; output is attached to, and kept in files, with the engine's own log as what a restarted daemon reads again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from fedproc.site.executors.base import ExecutorError, Handle, Observation, Offer, Phase, Spec
from fedproc.site.executors.confinement import disk
from fedproc.site.executors.confinement.etc import UID, write_accounts
from fedproc.site.executors.confinement.record import Record, forget, read_record
from fedproc.site.executors.docker.client import Engine, EngineRefusedError, Event
from fedproc.site.executors.docker.container import Container
from fedproc.site.executors.docker.creation import creation_of
from fedproc.site.executors.docker.dialect import Dialect, dialect_for
from fedproc.site.executors.docker.ending import GONE, NEVER_STARTED, remove
from fedproc.site.executors.layout import layout_for
from fedproc.site.executors.records import kept_output, observation_of, records_in

CONFLICT = 409
PYTHON = "python3"
"""of the image, wherever its PATH has it: images of Python's own have it in /usr/local"""
LABEL = "eu.eucaim.fedproc.host"


class DockerExecutor:
    """Implements :class:`fedproc.site.executors.base.Executor`; records and output are kept below ``folder``."""

    def __init__(self, folder: Path, socket: str, name: str = "docker") -> None:
        self.name = name
        self._folder = folder
        self._label = f"{LABEL}={label_of(folder)}"
        self._engine = Engine(socket, self._label, self._on_event, self._on_missed)
        self._containers: dict[str, Container] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def submit(self, spec: Spec) -> Handle:
        handle = self._handle(spec)
        async with self._turn(spec.job):
            if spec.job not in self._containers and read_record(Path(handle["folder"])) is None:
                await self._start(spec, handle)
        return handle

    async def poll(self, handle: Handle, *, until_exit: bool = False) -> Observation:
        async with self._turn(handle["job"]):
            container = await self._find(handle)
        if container is None:
            record = read_record(Path(handle["folder"]))
            return observation_of(asdict(record)) if record else Observation(Phase.absent)
        if until_exit:
            await container.exited.wait()
        seen = asdict(container.record)
        return observation_of(seen if container.exited.is_set() else seen | {"seconds": container.seconds()})

    def logs(self, handle: Handle, stream: str = "stdout", *, offset: int = 0) -> AsyncIterator[bytes]:
        return kept_output(Path(handle["folder"]), stream, offset)

    async def cancel(self, handle: Handle) -> None:
        async with self._turn(handle["job"]):
            container = await self._find(handle)
        if container is not None:
            await container.cancel()

    async def discard(self, handle: Handle) -> None:
        async with self._turn(handle["job"]):
            if container := self._containers.get(handle["job"]):
                await container.discard()
                del self._containers[handle["job"]]
            else:
                await remove(self._engine, handle["job"])
            await asyncio.to_thread(forget, self._folder / handle["job"])

    async def offer(self) -> Offer:
        try:
            nature = await self._engine.nature()
            await self._engine.call("ping")
        except ExecutorError as error:
            return Offer(obstacle=error.message)
        return Offer(str(nature), nature.obstacle, dict.fromkeys(nature.lacks, nature.cure))

    async def records(self) -> dict[str, tuple[float, int]]:
        return await asyncio.to_thread(records_in, self._folder)

    def close(self) -> None:
        """Disconnect from the engine; containers go on."""
        for container in self._containers.values():
            container.detach()
        self._engine.close()

    # -- starting and finding --------------------------------------------------------------------

    async def _start(self, spec: Spec, handle: Handle) -> None:
        folder = Path(handle["folder"])
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        layout = layout_for(spec, PYTHON)
        try:
            dialect = await self._dialect(folder)
            accounts = await asyncio.to_thread(write_accounts, folder)
            layout.mounts.extend((str(file), place) for file, place in accounts)
            for source, _ in layout.mounts:
                await asyncio.to_thread(Path(source).stat)  # Podman would make it
            if dialect.owner not in (0, UID):
                await asyncio.to_thread(disk.let_pass, spec.workspace, dialect.owner)
            for source, _ in layout.writable:
                await disk.own(source, dialect.owner, dialect.group)
            container = self._containers[spec.job] = Container(self._engine, handle, Record(spec.job))
            await self._create_and_start(container, creation_of(spec, layout, self._label, dialect))
        except BaseException as error:
            if made := self._containers.pop(spec.job, None):
                made.detach()
            await remove(self._engine, spec.job)
            await asyncio.to_thread(forget, folder)
            if isinstance(error, OSError):
                raise ExecutorError(f"{error.filename}: {error.strerror}") from error
            raise

    async def _create_and_start(self, container: Container, creation: dict[str, Any]) -> None:
        try:
            container.id = await self._engine.create(creation, container.id)
        except EngineRefusedError as error:
            if error.status != CONFLICT:
                raise
            found = await self._engine.call("inspect_container", container.id)
            if found["State"]["Status"] != NEVER_STARTED:  # started by a daemon that was lost before it could say so
                await container.recover(found)
                return
            container.id = found["Id"]
        await container.start()

    async def _dialect(self, folder: Path) -> Dialect:
        """For one job: a file that all shared was rewritten by one while Podman read it for another."""
        nature = await self._engine.nature()
        return await asyncio.to_thread(dialect_for, nature, folder / "seccomp.json")

    async def _find(self, handle: Handle) -> Container | None:
        """The job's container, if its end is not on record yet."""
        name = handle["job"]
        if name in self._containers:
            return self._containers[name]
        record = read_record(Path(handle["folder"]))
        if record is None or record.phase == Phase.exited:
            return None
        container = self._containers[name] = Container(self._engine, handle, record)
        try:
            await container.recover(await self._engine.call("inspect_container", name))
        except BaseException as error:
            if not isinstance(error, EngineRefusedError) or error.status != GONE:
                container.detach()  # half taken up: whoever asks next begins anew
                del self._containers[name]
                raise
            container.ended(None)
        return container

    def _handle(self, spec: Spec) -> Handle:
        limits = spec.limits
        return {
            "job": spec.job,
            "folder": str(self._folder / spec.job),
            "writable": [source for source, _ in layout_for(spec).writable],
            "memory": limits.memory,
            "disk": limits.disk,
            "pids": limits.pids,
            "log": limits.log,
            "signal": spec.stop.signal,
            "grace": spec.stop.grace,
        }

    def _turn(self, job: str) -> asyncio.Lock:
        """Held by who starts, finds or discards the container of this job."""
        return self._turns.setdefault(job, asyncio.Lock())

    def _on_event(self, event: Event) -> None:
        if container := self._containers.get(event.name):
            container.on_event(event)

    def _on_missed(self, since: datetime) -> None:
        for container in self._containers.values():
            container.check_again(since)


def label_of(folder: Path) -> str:
    """What containers of the executor that keeps its records in ``folder`` are labelled with."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
