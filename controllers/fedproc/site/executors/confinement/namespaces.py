"""Looking at a job by its namespace of processes, where it has no control group of its own."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from fedproc.site.executors.confinement.cgroups import Account

_COUNTED = ("RssAnon", "RssShmem")
_SCRATCH = ("tmp", "dev/shm")


class ProcessNamespace:
    """The processes of a job by the first one of them, ``init``, as this machine numbers it.

    ``memory`` (bytes) and ``pids`` are its limits. Whoever looks must be root, or the user whose namespaces these are.
    """

    def __init__(self, init: int, *, memory: int, pids: int) -> None:
        self._init = init
        self._memory = memory
        self._pids = pids
        self._namespace = _namespace(init)
        self._peak = 0

    def processes(self) -> list[int]:
        """The ids of its processes."""
        if self._namespace is None:
            return []
        numbers = (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdecimal())
        return [number for number in numbers if _namespace(number) == self._namespace]

    def account(self) -> Account:
        """What it has now; memory is counted no more once it has too many processes."""
        found = [_status(process) for process in self.processes()]
        if sum(each.get("Threads", 0) for each in found) >= self._pids:
            return Account(None, self._peak or None, out_of_memory=False, out_of_pids=True)
        held = self._scratch() + sum(each.get(name, 0) for each in found for name in _COUNTED) * 1024
        if held > self._memory:  # what processes share was counted for each of them
            held = self._scratch() + sum(map(_share, self.processes()))
        self._peak = max(self._peak, held)
        return Account(None, self._peak, out_of_memory=held > self._memory, out_of_pids=False)

    def _scratch(self) -> int:
        """Bytes of files that are memory."""
        total = 0
        for name in _SCRATCH:
            with suppress(OSError):
                found = os.statvfs(f"/proc/{self._init}/root/{name}")
                total += (found.f_blocks - found.f_bfree) * found.f_frsize
        return total


def first_inside(process: int) -> int | None:
    """The first process of the namespace that a descendant of ``process`` has made; None while there is none."""
    outer = _namespace(process)
    while process:
        process = _only_child(process)
        if process and _namespace(process) not in (outer, None):
            return process
    return None


def _only_child(process: int) -> int:
    with suppress(OSError, ValueError):
        children = [Path(task, "children").read_text().split() for task in Path(f"/proc/{process}/task").iterdir()]
        return next((int(child) for found in children for child in found), 0)
    return 0


def _namespace(process: int) -> str | None:
    with suppress(OSError):
        return os.readlink(f"/proc/{process}/ns/pid")  # noqa: PTH115 (done for each process of the machine)
    return None


def _share(process: int) -> int:
    """Its part of the memory that nobody can take from it, in bytes; this is slow to ask."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        found = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines[1:])}
        return (found.get("Pss_Anon", 0) + found.get("Pss_Shmem", 0)) * 1024
    return 0


def _status(process: int) -> dict[str, int]:
    with suppress(OSError, ValueError):
        lines = (line.split() for line in Path(f"/proc/{process}/status").read_text().splitlines())
        return {line[0].rstrip(":"): int(line[1]) for line in lines if len(line) > 1 and line[1].isdecimal()}
    return {}
