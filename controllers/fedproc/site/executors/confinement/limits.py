"""Whether a job has passed a limit, and which one: noted in its record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from fedproc.site.executors.confinement import disk
from fedproc.site.executors.confinement.cgroups import Account
from fedproc.site.executors.confinement.record import Record

_POLL_SECONDS = 0.5
_POLL_SHARE = 10
"""a poll may take one part in this many of the time"""
_LONGEST_PAUSE = 5.0


class Watched(Protocol):
    """The processes of a job: a control group, or what stands in for one."""

    def account(self) -> Account: ...

    def processes(self) -> list[int]: ...


class LimitMonitor:
    """Watches one job's memory, processes and what it writes below ``folders``. Sizes are in bytes."""

    def __init__(self, record: Record, folders: Sequence[str], *, memory: int, disk: int, pids: int) -> None:
        self._record = record
        self._folders = folders
        self._memory = memory
        self._disk = disk
        self._pids = pids

    async def watch(self, group: Watched | None) -> None:
        """Return once a limit is passed.

        No event tells how full a folder is, and not every kernel tells that the other limits were met.
        """
        pause = _POLL_SECONDS
        while True:
            await asyncio.sleep(pause)
            begun = time.monotonic()
            if group is not None:
                self.note_account(group.account())
            await self.note_disk(group)
            if self._record.limit is not None:
                return
            pause = min(max(_POLL_SECONDS, _POLL_SHARE * (time.monotonic() - begun)), _LONGEST_PAUSE)

    def note_account(self, account: Account) -> None:
        """Note what the control group has counted."""
        if account.out_of_memory:
            self.note_memory()
        elif account.out_of_pids and self._record.exit_code != 0:
            self._note("pids", f"it had {self._pids} processes and threads, and wanted more")
        self._record.cpu_seconds, self._record.memory_peak = account.cpu_seconds, account.memory_peak

    def note_memory(self) -> None:
        """Note that the kernel killed a process of it for want of memory."""
        self._note("memory", f"it needed more than {_megabytes(self._memory)}")

    async def note_disk(self, group: Watched | None) -> None:
        """Note whether it has written too much."""
        try:
            used = await disk.used(self._folders, self._disk, group.processes() if group else ())
        except disk.TooDeepError as deep:
            self._note("disk", str(deep))
        else:
            if used > self._disk:
                self._note("disk", f"it wrote more than {_megabytes(self._disk)}")

    def note_output(self, dropped: int, limit: int) -> None:
        """Note how much output was not kept; that ends no job."""
        self._record.dropped = dropped
        if dropped and not self._record.detail:
            self._record.detail = f"{_megabytes(dropped)} of output came after the {_megabytes(limit)} that are kept"

    def _note(self, limit: str, detail: str) -> None:
        if self._record.limit is None:
            self._record.limit, self._record.detail = limit, detail


def _megabytes(size: int) -> str:
    """A size for people."""
    return f"{size / 1_000_000:.6g} MB"
