"""One job of the runner: its processes, their output, and the record of how they ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from fedproc.common.log import get_logger
from fedproc.common.tasks import watched
from fedproc.site.executors.confinement import disk
from fedproc.site.executors.confinement.cgroups import CGroup
from fedproc.site.executors.confinement.limits import LimitMonitor
from fedproc.site.executors.confinement.namespaces import first_inside
from fedproc.site.executors.confinement.record import Record, RecordFile
from fedproc.site.executors.runner import apptainer
from fedproc.site.executors.runner.bubblewrap import Sandbox, sandbox_for
from fedproc.site.executors.runner.children import gone, reap, was_left
from fedproc.site.executors.runner.launch import become_user, launch, limit_resources, stage
from fedproc.site.executors.runner.order import Order
from fedproc.site.executors.runner.output import Output
from fedproc.site.executors.runner.path_policy import OpenPaths, PathPolicy
from fedproc.site.executors.runner.uid_pool import UidLease

log = get_logger(__name__)

_NOT_FOUND = 127
_STATUS_BYTES = 4096
_TAIL_BYTES = 500


@dataclass(frozen=True)
class Confinement:
    """What all jobs of a runner have in common: their /etc, groups that may read datasets, the filter of calls."""

    etc: Path
    groups: Sequence[int]
    seccomp: bytes


class Job:
    """A job's processes. ``exited`` is set when the last one is gone and the record says how it ended."""

    def __init__(self, folder: Path, order: Order, cgroup: CGroup, lease: UidLease | None, paths: OpenPaths) -> None:
        self.record = Record(order.job, started=datetime.now(UTC).isoformat())
        self.exited = asyncio.Event()
        self._folder = folder
        self._file = RecordFile(folder, self.record)
        self._order = order
        self._paths = paths
        self._cgroup = cgroup
        self._lease = lease
        self._limits = LimitMonitor(self.record, paths.folders, memory=order.memory, disk=order.disk, pids=order.pids)
        self._begun = time.monotonic()
        self._outputs: list[Output] = []
        self._abandoned = ""
        self._grace: asyncio.TimerHandle | None = None
        self._sandbox = 0
        self._status = -1
        self._status_bytes = b""

    async def start(self, confinement: Confinement) -> None:
        """Start the processes. Raises OSError or LaunchError; then nothing runs."""
        if self._lease is not None:
            for folder in self._paths.folders:
                await disk.own(folder, self._lease.uid)
        limits = self._order
        memory, pids = (apptainer.MEMORY, apptainer.PROCESSES) if limits.by == "apptainer" else (0, 0)
        self._cgroup.limit(cpus=limits.cpus, memory=limits.memory + memory, pids=limits.pids + pids)
        self._file.write()
        await self._launch(confinement)
        self._ending = watched(asyncio.create_task(self._wait()), "job.not_ended", job=self.record.job)
        self._watching = asyncio.create_task(self._watch())

    async def _launch(self, confinement: Confinement) -> None:
        self._status, status_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            for name in ("stdout", "stderr"):
                self._outputs.append(Output(self._folder / name, self._order.log))
            await self._fork(confinement, status_end)
        except BaseException:
            os.close(self._status)
            for output in self._outputs:
                output.close()
            raise
        finally:
            os.close(status_end)
            for output in self._outputs:
                os.close(output.write_end)

    async def _fork(self, confinement: Confinement, status_end: int) -> None:
        order, lease = self._order, self._lease
        sandbox = self._described(confinement, status_end)

        policy, own = self._paths.policy, PathPolicy()
        opened = [partial((own if s.own else policy).open, s.path, writable=s.writable) for s in sandbox.sources]

        def become() -> None:
            self._cgroup.join()
            if lease is not None:
                stage(opened)
            limit_resources(order.disk)
            if lease is not None:
                become_user(lease.uid, confinement.groups)

        try:
            command = sandbox.command(order.command)
            output, errors = (output.write_end for output in self._outputs)
            self._sandbox = await launch(
                command, output=output, errors=errors, keep=[status_end, *sandbox.descriptors], before=become
            )
        finally:
            sandbox.close()

    def _described(self, confinement: Confinement, status_end: int) -> Sandbox:
        staging = self._lease is not None
        if self._order.by == "apptainer":
            return apptainer.apptainer_for(self._order, folder=self._folder, staging=staging, status=status_end)
        return sandbox_for(
            self._order, etc=confinement.etc, staging=staging, seccomp=confinement.seccomp, status=status_end
        )

    # -- the end ---------------------------------------------------------------------------------

    async def _wait(self) -> None:
        await gone(self._sandbox)
        self._watching.cancel()
        if self._grace is not None:
            self._grace.cancel()
        code, self._sandbox = reap(self._sandbox), 0
        self._cgroup.kill()  # a sandbox that was ended while it was being made leaves an init that waits for it
        if (init := self._status_value("child-pid")) is not None and was_left(init):
            await gone(init)  # the first process inside: the kernel has then ended all the others there
        await self._cgroup.empty()
        for output in self._outputs:
            output.end()
        try:
            await self._limits.note_disk(None)
        finally:
            self._conclude(code)
            os.close(self._status)
            self._paths.close()
            self.exited.set()

    def _conclude(self, sandbox_code: int) -> None:
        record = self.record
        record.phase, record.ended = "exited", datetime.now(UTC).isoformat()
        record.seconds = round(self.seconds(), 6)
        record.exit_code = self._status_value("exit-code")
        if record.exit_code is None:
            self._explain(sandbox_code)
        elif record.exit_code == apptainer.NOT_STARTED and self._order.by == "apptainer":
            record.exit_code, record.detail = apptainer.explain(self._folder) or (record.exit_code, "")
        self._limits.note_account(self._cgroup.account())
        self._limits.note_output(sum(output.dropped for output in self._outputs), self._order.log)
        if self._abandoned:
            record.exit_code, record.detail = None, self._abandoned
        self._file.note()

    def _explain(self, sandbox_code: int) -> None:
        """The sandbox reported no exit code: it was killed together with its sandbox, or never came to be."""
        record = self.record
        if sandbox_code < 0:
            record.exit_code = 128 - sandbox_code
            return
        record.detail = _end_of(self._folder / "stderr") or "the sandbox ended before its command did"
        if record.detail.startswith("bwrap: execvp"):
            record.exit_code = _NOT_FOUND

    # -- while it runs ---------------------------------------------------------------------------

    async def _watch(self) -> None:
        """A job whose limits are looked at no more is ended, too."""
        try:
            await self._limits.watch(self._cgroup)
        except Exception as error:
            log.exception("limits.not_watched", job=self.record.job)
            self._abandoned = f"its limits could not be watched any more ({error})"
        self._cgroup.kill()

    def cancel(self) -> None:
        """Signal the command; after the grace, SIGKILL to all. What was asked before is not asked again."""
        if self.exited.is_set() or self._grace is not None:
            return
        self.record.cancelled = True
        self._file.note()
        for pid in self._commands():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.Signals[self._order.signal])
        self._grace = asyncio.get_running_loop().call_later(self._order.grace, self._cgroup.kill)

    async def end(self, reason: str = "") -> None:
        """SIGKILL to all of it, and wait. With a ``reason`` the record says that the job is not to blame."""
        if not self.exited.is_set():
            self._abandoned = reason
            self._cgroup.kill()
            await self.exited.wait()

    async def remove(self) -> None:
        """Give back the control group and the user id of a job that has exited."""
        self._file.close()
        await self._cgroup.remove()
        if self._lease is not None:
            self._lease.release()

    async def recorded(self) -> None:
        """Wait until the disk has taken how it ended."""
        await self._file.written()

    def seconds(self) -> float:
        """How long it has been running, by the monotonic clock."""
        return time.monotonic() - self._begun

    def _commands(self) -> list[int]:
        """The command is the one child of the sandbox's init; before it is there, the sandbox itself is meant."""
        init = self.first_process()
        children = Path(f"/proc/{init}/task/{init}/children")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in children.read_text().split()] or self._sandbox_itself()
        return self._sandbox_itself()

    def first_process(self) -> int | None:
        """The sandbox's own first process, as this machine numbers it; None before there is one."""
        child = self._status_value("child-pid")
        return first_inside(child) if child is not None and self._order.by else child

    def _sandbox_itself(self) -> list[int]:
        return [self._sandbox] if self._sandbox else []

    def _status_value(self, name: str) -> int | None:
        """A number that the sandbox reported on its status descriptor, if it did so yet."""
        with contextlib.suppress(BlockingIOError):
            self._status_bytes += os.read(self._status, _STATUS_BYTES)
        for line in self._status_bytes.splitlines():
            with contextlib.suppress(ValueError):
                if (value := json.loads(line).get(name)) is not None:
                    return int(value)
        return None


def _end_of(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
    return ""
