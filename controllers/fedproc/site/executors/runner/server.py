"""The runner's socket: requests and answers are JSON lines; each request has an ``id`` that its answer repeats.

``submit`` (``spec``), ``poll`` (``job``, ``until_exit``), ``cancel``, ``discard`` (``job``), ``records``. An answer has
either ``result`` or ``error``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from fedproc.common.sockets import unix_address
from fedproc.site.executors.confinement.cgroups import CGroupError, CGroups
from fedproc.site.executors.confinement.disk import TooDeepError
from fedproc.site.executors.confinement.etc import make_etc
from fedproc.site.executors.confinement.record import RecordFile, forget, read_record
from fedproc.site.executors.confinement.seccomp import SeccompError, make_filter
from fedproc.site.executors.records import records_in
from fedproc.site.executors.runner.job import Confinement, Job
from fedproc.site.executors.runner.launch import LaunchError
from fedproc.site.executors.runner.order import JOB_NAME, Order, order_of
from fedproc.site.executors.runner.path_policy import OpenPaths, PathPolicy, PathRefusedError
from fedproc.site.executors.runner.uid_pool import NoFreeUidError, UidPool

VERSION = 1
LINE = 1 << 20
"""bytes of the longest request that is read"""
_BACKLOG = 256
_SET_CHILD_SUBREAPER = 36

Answer = dict[str, Any]


class RunnerError(Exception):
    """What was asked cannot be done; the text goes to the caller."""


_REPORTED = (RunnerError, PathRefusedError, CGroupError, SeccompError, NoFreeUidError, LaunchError, TooDeepError)


class Runner:
    """Keeps the jobs of one host below ``folder``.

    Where it is root, each has a user of its own from ``uids``, and orders keep to the file ``path_policy``, which
    is read for each.
    """

    def __init__(
        self,
        folder: Path,
        *,
        uids: UidPool,
        groups: Sequence[int],
        path_policy: Path | None = None,
        client_group: int | None = None,
    ) -> None:
        self._folder = folder
        self._uids = uids if os.geteuid() == 0 else None
        self._groups = groups
        self._policy_file = path_policy if os.geteuid() == 0 else None
        self._client_group = client_group
        self._jobs: dict[str, Job] = {}
        self._lost: dict[str, RecordFile] = {}
        """of jobs that a runner before this one started, and whose end it did not see"""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._cgroups: CGroups | None = None
        self._confinement: Confinement | None = None
        self._unable: Exception | None = None

    async def serve(self, ended: asyncio.Event) -> None:
        """Serve until ``ended``; then what still runs is ended and recorded."""
        jobs = self._folder / "jobs"
        jobs.mkdir(parents=True, exist_ok=True)
        jobs.chmod(0o700)  # what jobs print is not for other users of this machine
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what a sandbox leaves is reaped here
        self._prepare_confinement()
        await self._end_leftovers()
        path = self._folder / "runner.sock"
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        with unix_address(path) as address:
            server = await asyncio.start_unix_server(self._connected, address, limit=LINE, backlog=_BACKLOG)
        os.umask(before)
        if self._client_group is not None:
            os.chown(path, -1, self._client_group)
            path.chmod(0o660)
        async with server:
            await ended.wait()
        await asyncio.gather(*(job.end("the runner was stopped while the job ran") for job in self._jobs.values()))
        await asyncio.gather(*(job.remove() for job in self._jobs.values()))
        if self._cgroups is not None:
            self._cgroups.close()

    def _prepare_confinement(self) -> None:
        """Prepare what limits and confines jobs. Where it cannot be had, submissions are refused with the reason.

        What the disk has no room for can be had once jobs were discarded, so it is tried again then.
        """
        name = "fedproc-" + hashlib.sha256(str(self._folder.resolve()).encode()).hexdigest()[:12]
        try:
            self._cgroups = self._cgroups or CGroups(name)
            make_etc(self._folder / "etc")
            self._confinement = Confinement(self._folder / "etc", self._groups, make_filter())
        except (CGroupError, SeccompError, OSError) as error:
            self._unable = error

    async def _end_leftovers(self) -> None:
        """After a crash: nothing that an earlier runner started may go on without a record."""
        for group in self._cgroups.all() if self._cgroups else []:
            await group.empty()
            await group.remove()
        for folder in (self._folder / "jobs").iterdir():
            record = read_record(folder)
            if record is None:
                forget(folder)
            elif record.phase == "running":
                record.phase, record.detail = "exited", "the runner was lost while the job ran"
                self._lost[folder.name] = RecordFile(folder, record)
                self._lost[folder.name].note()

    # -- requests --------------------------------------------------------------------------------

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
            answer: Answer = {"result": await self._operation(request)(request)}
        except _REPORTED as error:
            answer = {"error": str(error)}
        except OSError as error:
            answer = {"error": f"{error.strerror or error} ({error.filename})"}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            answer = {"error": f"request not understood: {type(error).__name__} {error}"}
        with contextlib.suppress(ConnectionError):
            writer.write(json.dumps({"id": request.get("id"), **answer}).encode() + b"\n")
            await writer.drain()

    def _operation(self, request: dict[str, Any]) -> Callable[[dict[str, Any]], Awaitable[Answer]]:
        if request.get("v") != VERSION:
            raise RunnerError(f"protocol version {request.get('v')}; this runner speaks {VERSION}: restart it")
        operations = {
            "submit": self._submit,
            "poll": self._poll,
            "cancel": self._cancel,
            "discard": self._discard,
            "records": self._records,
        }
        return operations[request["op"]]

    def _turn(self, name: str) -> asyncio.Lock:
        """Held by who starts or discards the job of this name."""
        return self._turns.setdefault(name, asyncio.Lock())

    async def _submit(self, request: dict[str, Any]) -> Answer:
        order = order_of(request["spec"])
        async with self._turn(order.job):
            if order.job not in self._jobs and read_record(self._folder_of(order.job)) is None:
                self._jobs[order.job] = await self._start(order)
        return {"job": order.job}

    async def _start(self, order: Order) -> Job:
        if self._confinement is None and self._cgroups is not None:
            self._prepare_confinement()
        if self._cgroups is None or self._confinement is None:
            raise self._unable or RunnerError("the runner is not ready")
        folder = self._folder_of(order.job)
        forget(folder)
        cgroup = self._cgroups.make(order.job)
        lease, paths = None, OpenPaths()
        try:
            policy = PathPolicy.read(self._policy_file) if self._policy_file else PathPolicy()
            paths = policy.open_paths(order)
            folder.mkdir()
            lease = self._uids.take() if self._uids else None
            job = Job(folder, order, cgroup, lease, paths)
            await job.start(self._confinement)
        except BaseException:
            await cgroup.empty()
            await cgroup.remove()
            forget(folder)
            paths.close()
            if lease is not None:
                lease.release()
            raise
        return job

    async def _poll(self, request: dict[str, Any]) -> Answer:
        job = self._jobs.get(request["job"])
        if job is None:
            lost = self._lost.get(request["job"])
            record = lost.record if lost else read_record(self._folder_of(request["job"]))
            return vars(record) if record else {"phase": "absent"}
        if request.get("until_exit"):
            await job.exited.wait()
        seen = vars(job.record)
        return seen if job.exited.is_set() else seen | {"seconds": job.seconds()}

    async def _cancel(self, request: dict[str, Any]) -> Answer:
        if job := self._jobs.get(request["job"]):
            job.cancel()
        return {}

    async def _discard(self, request: dict[str, Any]) -> Answer:
        name = request["job"]
        folder = self._folder_of(name)
        async with self._turn(name):
            if job := self._jobs.get(name):
                await job.end()
                await job.remove()
                del self._jobs[name]
            if lost := self._lost.pop(name, None):
                lost.close()
            forget(folder)
        return {}

    async def _records(self, request: dict[str, Any]) -> Answer:
        return {"records": await asyncio.to_thread(records_in, self._folder / "jobs")}

    def _folder_of(self, job: str) -> Path:
        if not JOB_NAME.fullmatch(job):
            raise RunnerError(f"{job!r} is no job name")
        return self._folder / "jobs" / job
