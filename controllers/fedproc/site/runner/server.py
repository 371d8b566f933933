"""The runner's socket: requests and answers are JSON lines; each request has an ``id`` that its answer repeats.

``submit`` (``spec``), ``poll`` (``job``, ``until_exit``), ``cancel``, ``discard`` (``job``). An answer has either
``result`` or ``error``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedproc.site.runner.bubblewrap import write_etc
from fedproc.site.runner.cgroups import CGroupError, CGroups
from fedproc.site.runner.job import Job, Record, forget, read_record, write_record

VERSION = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LINE = 1 << 20


class RunnerError(Exception):
    """What was asked cannot be done; the text goes to the caller."""


class Runner:
    """Keeps the jobs of one host below ``folder``."""

    def __init__(self, folder: Path, *, uid_base: int, groups: list[int]) -> None:
        self._folder = folder
        self._jobs: dict[str, Job] = {}
        self._uid_base = uid_base
        self._uids: set[int] = set()
        self._groups = groups
        self._cgroups: CGroups | None = None
        self._no_cgroups = ""

    async def serve(self, ended: asyncio.Event) -> None:
        """Serve until ``ended``; then what still runs is ended and recorded."""
        (self._folder / "jobs").mkdir(parents=True, exist_ok=True)
        write_etc(self._folder / "etc")
        try:
            self._cgroups = CGroups("fedproc-" + hashlib.sha256(str(self._folder.resolve()).encode()).hexdigest()[:12])
        except CGroupError as fault:
            self._no_cgroups = str(fault)
        self._end_what_was_left()
        path = self._folder / "runner.sock"
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        server = await asyncio.start_unix_server(self._connected, str(path), limit=_LINE)
        os.umask(before)
        async with server:
            await ended.wait()
        for job in self._jobs.values():
            job.record.detail = job.record.detail or "the runner was stopped"
            job.kill()
        await asyncio.gather(*(job.exited.wait() for job in self._jobs.values()))
        if self._cgroups is not None:
            for name in self._cgroups.names():
                self._cgroups.find(name).remove()
            self._cgroups.close()

    def _end_what_was_left(self) -> None:
        """After a crash: nothing that an earlier runner started may go on without a record."""
        for name in self._cgroups.names() if self._cgroups else []:
            assert self._cgroups is not None
            self._cgroups.find(name).kill()
            self._cgroups.find(name).remove()
        for folder in (self._folder / "jobs").iterdir():
            record = read_record(folder)
            if record is None:
                forget(folder)
            elif record.phase == "running":
                record.phase, record.detail = "exited", "the runner was lost while the job ran"
                write_record(folder, record)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                task = asyncio.create_task(self._answer(line, writer))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except (ConnectionError, ValueError, asyncio.CancelledError):
            pass  # the caller is gone, sent no lines, or the runner ends: in each case this connection is over
        for task in tasks:
            task.cancel()
        writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        request: dict[str, Any] = {}
        try:
            request = json.loads(line)
            answer = {"result": await self._operation(request)(request)}
        except (RunnerError, CGroupError) as fault:
            answer = {"error": str(fault)}
        except OSError as fault:
            answer = {"error": f"{fault.strerror or fault} ({fault.filename})"}
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            answer = {"error": f"request not understood: {type(fault).__name__} {fault}"}
        with contextlib.suppress(ConnectionError):
            writer.write(json.dumps({"id": request.get("id"), **answer}).encode() + b"\n")
            await writer.drain()

    def _operation(self, request: dict[str, Any]) -> Callable[[dict[str, Any]], Awaitable[Any]]:
        if request.get("v") != VERSION:
            raise RunnerError(f"protocol version {request.get('v')}; this runner speaks {VERSION}: restart it")
        operations = {"submit": self._submit, "poll": self._poll, "cancel": self._cancel, "discard": self._discard}
        return operations[request["op"]]

    def _folder_of(self, job: str) -> Path:
        if not _NAME.fullmatch(job):
            raise RunnerError(f"{job!r} is no job name")
        return self._folder / "jobs" / job

    async def _submit(self, request: dict[str, Any]) -> Any:
        spec = request["spec"]
        name = spec["job"]
        folder = self._folder_of(name)
        if name in self._jobs or read_record(folder) is not None:
            return {"job": name}
        if self._cgroups is None:
            raise RunnerError(self._no_cgroups)
        forget(folder)
        folder.mkdir()
        uid = self._take_uid()
        cgroup = self._cgroups.make(name)
        job = Job(folder, spec, cgroup, uid)
        try:
            cgroup.limit(cpus=spec["cpus"], memory=spec["memory"], pids=spec["pids"])
            job.start(self._folder / "etc", self._groups)
        except BaseException:
            cgroup.kill()
            cgroup.remove()
            forget(folder)
            self._uids.discard(uid or 0)
            raise
        self._jobs[name] = job
        return {"job": name}

    def _take_uid(self) -> int | None:
        """A user of the job's own, as far as this runner may choose: two jobs at a time never share one."""
        if os.geteuid() != 0:
            return None
        uid = next(n for n in range(self._uid_base, self._uid_base + 10_000) if n not in self._uids)
        self._uids.add(uid)
        return uid

    async def _poll(self, request: dict[str, Any]) -> Any:
        job = self._jobs.get(request["job"])
        if job is None:
            record = read_record(self._folder_of(request["job"]))
            return asdict(record) if record else {"phase": "absent"}
        if request.get("until_exit"):
            await job.exited.wait()
        return self._seen(job)

    @staticmethod
    def _seen(job: Job) -> dict[str, Any]:
        record: Record = job.record
        seen = asdict(record)
        if record.phase == "running":
            seen["seconds"] = job.seconds()
        return seen

    async def _cancel(self, request: dict[str, Any]) -> Any:
        if job := self._jobs.get(request["job"]):
            job.cancel()
        return {}

    async def _discard(self, request: dict[str, Any]) -> Any:
        name = request["job"]
        folder = self._folder_of(name)
        if job := self._jobs.get(name):
            if not job.exited.is_set():
                job.kill()
                await job.exited.wait()
            job.remove_group()
            self._jobs.pop(name, None)
            self._uids.discard(job.uid or 0)
        forget(folder)
        return {}
