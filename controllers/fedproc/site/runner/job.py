"""One job of the runner: its processes, their output, and the record of how they ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedproc.site.runner.bubblewrap import Sandbox, sandbox_for
from fedproc.site.runner.cgroups import CGroup

_READ = 1 << 16
_DISK_LOOK = 0.5
_OPEN_FILES = 4096
_NOT_FOUND = 127


@dataclass
class Record:
    """How it stands with a job, as kept on disk; see :class:`fedproc.site.executors.base.Observation`."""

    job: str
    phase: str = "running"
    started: str = ""
    ended: str | None = None
    seconds: float | None = None
    exit_code: int | None = None
    cpu_seconds: float | None = None
    memory_peak: int | None = None
    limit: str | None = None
    cancelled: bool = False
    detail: str = ""
    dropped: int = 0


class Job:
    """A started job. ``exited`` is set when its last process is gone and its record is on the disk."""

    def __init__(self, folder: Path, spec: dict[str, Any], cgroup: CGroup, uid: int | None) -> None:
        self.folder = folder
        self.record = Record(spec["job"], started=datetime.now(UTC).isoformat())
        self.exited = asyncio.Event()
        self.uid = uid
        self._spec = spec
        self._cgroup = cgroup
        self._begun = time.monotonic()
        self._ends: list[asyncio.Future[None]] = []
        self._status = b""
        self._grace: asyncio.TimerHandle | None = None
        self._process: subprocess.Popen[bytes]

    def start(self, etc: Path, groups: list[int]) -> None:
        """Start the processes. Raises OSError; then nothing runs."""
        hosts = self.folder / "hosts"
        hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{ip} {name}\n" for ip, name in self._spec["hosts"]))
        if self.uid is not None:
            for path, _ in self._spec["writable"]:
                _give(path, self.uid)
        status_read, status_write = os.pipe()
        try:
            sandbox = sandbox_for(self._spec, etc, hosts, status_write)
            self._write_record()
            self._process = subprocess.Popen(
                ["/usr/bin/bwrap", *sandbox.arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[status_write],
                env={},
                cwd="/",
                start_new_session=True,
                preexec_fn=lambda: self._before_exec(sandbox, groups),  # noqa: PLW1509 (the runner has one thread)
            )
        except BaseException:
            os.close(status_read)
            raise
        finally:
            os.close(status_write)
        self._watch(status_read)

    def _before_exec(self, sandbox: Sandbox, groups: list[int]) -> None:
        self._cgroup.join()
        sandbox.stage()
        disk = self._spec["disk"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if self.uid is not None:
            os.setgroups(groups)
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)

    def _watch(self, status: int) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        for stream, name in ((self._process.stdout, "stdout"), (self._process.stderr, "stderr")):
            self._ends.append(_drain(stream.fileno(), _Kept(self.folder / name, self._spec["log"], self.record).add))
        self._ends.append(_drain(status, self._take_status))
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(self._process.pid)
        gone = loop.create_future()
        loop.add_reader(pidfd, _settle, gone)
        self._waiter = asyncio.create_task(self._wait(gone, pidfd, status))
        self._disk_watch = asyncio.create_task(self._watch_disk())

    def _take_status(self, data: bytes) -> None:
        self._status += data[: 4096 - len(self._status)]

    async def _wait(self, gone: asyncio.Future[None], pidfd: int, status: int) -> None:
        await gone
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        self._disk_watch.cancel()
        if self._grace is not None:
            self._grace.cancel()
        self._process.wait()
        self._cgroup.kill()
        await asyncio.gather(*self._ends)
        os.close(status)
        self._process.stdout.close()  # type: ignore[union-attr]
        self._process.stderr.close()  # type: ignore[union-attr]
        self._conclude()

    def _conclude(self) -> None:
        account = self._cgroup.account()
        record = self.record
        record.phase, record.ended = "exited", datetime.now(UTC).isoformat()
        record.seconds = round(time.monotonic() - self._begun, 6)
        record.cpu_seconds, record.memory_peak = account.cpu_seconds, account.memory_peak
        record.exit_code = _exit_code(self._status)
        if record.exit_code is None and record.limit is None:
            record.detail = _tail(self.folder / "stderr") or "the sandbox ended before its command did"
            if self._process.returncode < 0 or record.cancelled:
                record.exit_code = 128 + abs(self._process.returncode)
            elif record.detail.startswith("bwrap: execvp"):
                record.exit_code = _NOT_FOUND
        if account.out_of_memory:
            record.limit, record.detail = "memory", f"{self._spec['memory']} bytes"
        elif record.exit_code != 0 and record.limit is None and _used(self._spec["chdir_source"]) >= self._spec["disk"]:
            record.limit, record.detail = "disk", f"it wrote {self._spec['disk']} bytes, which is all that it may"
        elif account.out_of_pids and record.exit_code != 0 and not record.cancelled and record.limit is None:
            record.limit, record.detail = "pids", f"{self._spec['pids']} processes"
        self._write_record()
        self.exited.set()

    async def _watch_disk(self) -> None:
        """No event tells how full a folder is; looking costs, so the pause grows with what a look took."""
        while True:
            begun = time.monotonic()
            used = await asyncio.to_thread(_used, self._spec["chdir_source"])
            if used > self._spec["disk"]:
                self.record.limit = "disk"
                self.record.detail = f"{used} bytes in the workspace, {self._spec['disk']} allowed"
                self._cgroup.kill()
                return
            await asyncio.sleep(max(_DISK_LOOK, 20 * (time.monotonic() - begun)))

    def cancel(self) -> None:
        """Signal the command; after the grace, SIGKILL to all."""
        if self.exited.is_set() or self._grace is not None:
            return
        self.record.cancelled = True
        for pid in self._commands():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, getattr(signal, self._spec["signal"]))
        self._grace = asyncio.get_running_loop().call_later(self._spec["grace"], self._cgroup.kill)

    def kill(self) -> None:
        """SIGKILL to all of it."""
        self._cgroup.kill()

    def remove_group(self) -> None:
        """Remove the control group of a job that has exited."""
        self._cgroup.remove()

    def seconds(self) -> float:
        """How long it has been running, monotonic."""
        return time.monotonic() - self._begun

    def _commands(self) -> Iterator[int]:
        """The command is the one child of the sandbox's init; before it is there, the sandbox itself is meant."""
        init = _field(self._status, "child-pid")
        children = Path(f"/proc/{init}/task/{init}/children")
        found = children.read_text().split() if init and children.exists() else []
        yield from map(int, found or [str(self._process.pid)])

    def _write_record(self) -> None:
        write_record(self.folder, self.record)


class _Kept:
    """Keeps the first bytes of a stream in a file and counts the rest."""

    def __init__(self, path: Path, limit: int, record: Record) -> None:
        self._file = path.open("wb", buffering=0)
        self._left = limit
        self._record = record

    def add(self, data: bytes) -> None:
        if not data:
            self._file.close()
            return
        self._file.write(data[: self._left])
        self._record.dropped += max(0, len(data) - self._left)
        self._left = max(0, self._left - len(data))


def _drain(descriptor: int, take: Any) -> asyncio.Future[None]:
    """Give what comes on a pipe to ``take``, piece by piece, and an empty piece at its end."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    os.set_blocking(descriptor, False)

    def readable() -> None:
        data = os.read(descriptor, _READ)
        try:
            take(data)
        except OSError:
            data = data or b""  # the disk is full: go on reading, so that the tool does not hang on its output
        if not data:
            loop.remove_reader(descriptor)
            ended.set_result(None)

    loop.add_reader(descriptor, readable)
    return ended


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _exit_code(status: bytes) -> int | None:
    return _field(status, "exit-code")


def _field(status: bytes, name: str) -> int | None:
    for line in status.splitlines():
        with contextlib.suppress(ValueError):
            if (value := json.loads(line).get(name)) is not None:
                return int(value)
    return None


def _tail(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_bytes()[-500:].decode(errors="replace").strip()
    return ""


def _used(folder: str) -> int:
    total = 0
    for _, _, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_blocks * 512
    return total


def _give(path: str, uid: int) -> None:
    """Make the job's user the owner of its folders; a link is changed itself, never followed."""
    os.chown(path, uid, uid, follow_symlinks=False)
    for _, folders, files, descriptor in os.fwalk(path, follow_symlinks=False):
        for name in (*folders, *files):
            os.chown(name, uid, uid, dir_fd=descriptor, follow_symlinks=False)


def write_record(folder: Path, record: Record) -> None:
    """Put the record in its place in one step."""
    partial = folder / "record.part"
    with partial.open("w") as target:
        json.dump(asdict(record), target)
        target.flush()
        os.fsync(target.fileno())
    partial.rename(folder / "record.json")


def read_record(folder: Path) -> Record | None:
    """The record of a job, or None if there is none."""
    with contextlib.suppress(FileNotFoundError):
        return Record(**json.loads((folder / "record.json").read_bytes()))
    return None


def forget(folder: Path) -> None:
    """Remove a job's folder."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
