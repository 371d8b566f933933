"""Limits and accounts of a job's processes by control groups, version 1 or 2."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_V1_CONTROLLERS = ("memory", "cpu", "cpuacct", "pids")
_CPU_PERIOD = 100_000
_PAUSE = 0.002
_REMOVAL_SECONDS = 5
_PIECE = 1 << 16


class CGroupError(Exception):
    """No control groups that this process may use; says what to do."""


@dataclass(frozen=True)
class Account:
    """What a group used, and which of its limits ended or hindered something."""

    cpu_seconds: float | None
    memory_peak: int | None
    out_of_memory: bool
    out_of_pids: bool


class CGroup:
    """One job's group: its folder on version 2 (under the empty name), one per controller on version 1."""

    def __init__(self, folders: dict[str, str]) -> None:
        self._folders = folders
        self._v2 = "" in folders
        self._distinct = tuple(dict.fromkeys(folders.values()))

    def make(self) -> None:
        """Make the group afresh. Raises OSError."""
        for folder in self._distinct:
            os.mkdir(folder)  # noqa: PTH102 (this and the like are done for every job, and cost)

    def limit(self, *, cpus: float, memory: int, pids: int) -> None:
        """Set the limits; swap is counted as memory where the kernel lets it be."""
        quota = max(1000, int(cpus * _CPU_PERIOD))
        if self._v2:
            self._write("memory.max", str(memory))
            self._try("memory.swap.max", "0")
            self._try("memory.oom.group", "1")
            self._write("cpu.max", f"{quota} {_CPU_PERIOD}")
            self._write("pids.max", str(pids))
        else:
            self._write("memory.limit_in_bytes", str(memory))
            self._try("memory.memsw.limit_in_bytes", str(memory))
            self._write("cpu.cfs_period_us", str(_CPU_PERIOD))
            self._write("cpu.cfs_quota_us", str(quota))
            self._write("pids.max", str(pids))

    def join(self) -> None:
        """Put the calling process into the group; called between fork and exec."""
        for folder in self._distinct:
            _put(f"{folder}/cgroup.procs", "0")

    def account(self) -> Account:
        """What the group has used by now."""
        if self._v2:
            usage = self._pairs("cpu.stat").get("usage_usec")
            events = self._pairs("memory.events")
            return Account(
                cpu_seconds=usage / 1e6 if usage is not None else None,
                memory_peak=self._number("memory.peak"),
                out_of_memory=events.get("oom_kill", 0) > 0,
                out_of_pids=self._pairs("pids.events").get("max", 0) > 0,
            )
        nanoseconds = self._number("cpuacct.usage")
        return Account(
            cpu_seconds=nanoseconds / 1e9 if nanoseconds is not None else None,
            memory_peak=self._number("memory.max_usage_in_bytes"),
            out_of_memory=self._pairs("memory.oom_control").get("oom_kill", 0) > 0,
            out_of_pids=self._pairs("pids.events").get("max", 0) > 0,
        )

    def kill(self) -> None:
        """SIGKILL to everything that is in it now."""
        if self._v2:
            with contextlib.suppress(CGroupError):  # Linux before 5.14 has it not
                self._write("cgroup.kill", "1")
                return
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def empty(self) -> None:
        """SIGKILL again and again until nothing is left in it."""
        while self.processes():
            self.kill()
            await asyncio.sleep(_PAUSE)

    def processes(self) -> list[int]:
        """The ids of the processes in it."""
        with contextlib.suppress(OSError):
            return [int(line) for line in _get(f"{self._distinct[0]}/cgroup.procs").split()]
        return []

    async def remove(self) -> None:
        """Remove the group, which is empty; nothing happens if it is gone already."""
        until = time.monotonic() + _REMOVAL_SECONDS
        for folder in self._distinct:
            while not _removed(folder):  # the kernel lets go of the last process a moment after it was reaped
                if time.monotonic() > until:
                    raise CGroupError(f"control group {folder} cannot be removed: something is left in it")
                await asyncio.sleep(_PAUSE)

    def _path(self, name: str) -> str:
        return f"{self._folders['' if self._v2 else name.partition('.')[0]]}/{name}"

    def _write(self, name: str, value: str) -> None:
        try:
            _put(self._path(name), value)
        except FileNotFoundError as error:
            raise CGroupError(
                f"control group {self._path(name)} is missing: enable the controllers memory, cpu and pids"
            ) from error

    def _try(self, name: str, value: str) -> None:
        with contextlib.suppress(OSError, CGroupError):
            self._write(name, value)

    def _number(self, name: str) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return int(_get(self._path(name)))
        return None

    def _pairs(self, name: str) -> dict[str, int]:
        with contextlib.suppress(OSError, ValueError):
            lines = (line.split() for line in _get(self._path(name)).splitlines())
            return {line[0]: int(line[1]) for line in lines if len(line) == 2}
        return {}


def _put(path: str, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _get(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = b""
        while piece := os.read(descriptor, _PIECE):
            found += piece
        return found.decode()
    finally:
        os.close(descriptor)


def _removed(folder: str) -> bool:
    try:
        os.rmdir(folder)  # noqa: PTH106
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


class CGroups:
    """The groups of one runner, below the group that it was itself started in."""

    def __init__(self, name: str) -> None:
        self._parents = _parents_v2(name) if _is_v2() else _parents_v1(name)

    def make(self, job: str) -> CGroup:
        """A fresh group for a job. Raises :class:`CGroupError`."""
        group = self.find(job)
        try:
            group.make()
        except OSError as error:
            raise CGroupError(f"control group {error.filename} cannot be made: {error.strerror}") from error
        return group

    def find(self, job: str) -> CGroup:
        """The group of a job, whether it is there or not."""
        return CGroup({controller: f"{parent}/{job}" for controller, parent in self._parents.items()})

    def all(self) -> list[CGroup]:
        """The groups of all jobs."""
        parent = next(iter(self._parents.values()))
        return [self.find(folder.name) for folder in parent.iterdir() if folder.is_dir()]

    def close(self) -> None:
        """Remove the parents, if no job's group is left in them."""
        for parent in self._parents.values():
            with contextlib.suppress(OSError):
                parent.rmdir()


def group_of(process: int, named: str = "") -> CGroup | None:
    """The group in which a process is, to look at; None if it is gone or out of sight.

    None, too, if nothing of the group's path has the name ``named``: it is not the process's own then.
    """
    try:
        paths = _paths(str(process))
    except OSError:
        return None
    if named not in paths.get("" if _is_v2() else "memory", ""):
        return None
    if _is_v2():
        return CGroup({"": str(ROOT / paths.get("", "/").lstrip("/"))})
    return CGroup({c: str(ROOT / c / paths.get(c, "/").lstrip("/")) for c in _V1_CONTROLLERS})


def _is_v2() -> bool:
    return (ROOT / "cgroup.controllers").exists()


def _paths(process: str) -> dict[str, str]:
    """A process's group by controller; version 2's under the empty name."""
    found: dict[str, str] = {}
    for line in Path(f"/proc/{process}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        found |= dict.fromkeys(controllers.split(","), path)
    return found


def _parents_v1(name: str) -> dict[str, Path]:
    own = _paths("self")
    missing = [c for c in _V1_CONTROLLERS if not (ROOT / c).is_dir()]
    if missing:
        raise CGroupError(f"this machine has no control groups for {', '.join(missing)}; jobs cannot be limited here")
    return _made({c: (ROOT / c).resolve() / own.get(c, "/").lstrip("/") / name for c in _V1_CONTROLLERS})


def _parents_v2(name: str) -> dict[str, Path]:
    path = _paths("self").get("", "/").lstrip("/")
    mine = ROOT / path
    try:
        if path:  # a group with processes may not hand controllers on: move ourselves into a leaf
            leaf = mine / f"{name}-runner"
            leaf.mkdir(exist_ok=True)
            (leaf / "cgroup.procs").write_text(str(os.getpid()))
        (mine / "cgroup.subtree_control").write_text("+memory +cpu +pids")
        parents = _made({"": mine / name})
        (mine / name / "cgroup.subtree_control").write_text("+memory +cpu +pids")
    except OSError as error:
        raise CGroupError(_refused(mine, error)) from error
    return parents


def _made(parents: dict[str, Path]) -> dict[str, Path]:
    for folder in parents.values():
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise CGroupError(_refused(folder, error)) from error
    return parents


def _refused(folder: Path, error: OSError) -> str:
    return (
        f"control group {folder} cannot be written ({error.strerror}), so jobs could not be limited: run the runner "
        "as root, or as a systemd unit with Delegate=yes"
    )
