"""The inside of an allocation: ``python -m fedproc.site.executors.slurm.allocation FOLDER`` runs the order in FOLDER.

It is what the batch script becomes. The folder is shared with the orchestrator's machine: ``order.json`` in it, and
out of it the output and the record of the sandbox. Whoever comes second, because the cluster was given the job twice
or runs it again, finds that it is claimed, and does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from fedproc.site.executors.confinement.cgroups import Account, CGroup
from fedproc.site.executors.confinement.etc import make_etc
from fedproc.site.executors.confinement.namespaces import ProcessNamespace
from fedproc.site.executors.confinement.record import Record, read_record, write_record
from fedproc.site.executors.confinement.seccomp import make_filter
from fedproc.site.executors.runner.children import reap_left
from fedproc.site.executors.runner.job import Confinement, Job
from fedproc.site.executors.runner.order import Order, order_of
from fedproc.site.executors.runner.path_policy import OpenPaths

CLAIM = "claim"
_RECORD_SECONDS = 600.0
"""for which an allocation is held because its shared folder, a full one, does not take how the job ended"""
ORDER = "order.json"
_SET_CHILD_SUBREAPER = 36


class AllocationGroup(CGroup):
    """Stands in for a job's control group, which is Slurm's to make: its processes are those of one namespace."""

    def __init__(self, order: Order) -> None:
        super().__init__({})
        self._limits = {"memory": order.memory, "pids": order.pids}
        self.init: Callable[[], int | None] = lambda: None
        """the first process of the sandbox, as this machine numbers it, once there is one"""
        self._namespace: ProcessNamespace | None = None

    def limit(self, *, cpus: float, memory: int, pids: int) -> None:
        """Slurm does, by the options of the allocation."""

    def join(self) -> None:
        """Whoever is started in an allocation is in it."""

    def account(self) -> Account:
        namespace = self._found()
        return namespace.account() if namespace else Account(None, None, out_of_memory=False, out_of_pids=False)

    def processes(self) -> list[int]:
        namespace = self._found()
        return namespace.processes() if namespace else []

    def kill(self) -> None:
        """SIGKILL to the first process of the sandbox, with which the kernel ends the others."""
        if process := self.init():
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                return

    async def remove(self) -> None:
        """Nothing was made."""

    def _found(self) -> ProcessNamespace | None:
        if self._namespace is None and (process := self.init()) is not None:
            self._namespace = ProcessNamespace(process, **self._limits)
        return self._namespace


def main(folder: Path) -> None:
    """Run the order, unless somebody does or did."""
    try:
        os.close(os.open(folder / CLAIM, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    except FileExistsError:
        return
    try:
        asyncio.run(_run(folder, order_of(json.loads((folder / ORDER).read_text()))))
    except Exception as error:
        known = read_record(folder) or Record(folder.name)
        known.phase, known.exit_code, known.detail = "exited", None, f"in its allocation: {error}"
        write_record(folder, known)
        raise


async def _run(folder: Path, order: Order) -> None:
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, reap_left)
    etc = folder / "etc"
    make_etc(etc)
    group = AllocationGroup(order)
    job = Job(folder, order, group, None, OpenPaths(folders=[source for source, _ in order.writable]))
    group.init = job.first_process
    loop.add_signal_handler(signal.SIGTERM, job.cancel)
    await job.start(Confinement(etc, (), make_filter()))
    await job.exited.wait()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_RECORD_SECONDS):
            await job.recorded()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
