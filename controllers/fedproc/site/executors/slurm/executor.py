"""The Slurm executor: a batch job per job, in which the sandbox runs, with its files in a folder that nodes share.

The orchestrator is on a login node. A job's folder says what is known of it before the cluster is asked: ``handing``
that it is about to be handed over, ``number`` what the cluster called it. Its end is read from the record that the
inside writes (:mod:`fedproc.site.executors.slurm.allocation`); Slurm is asked for what has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import shlex
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from weakref import WeakValueDictionary

from fedproc.common.files import write_atomically
from fedproc.common.log import get_logger
from fedproc.site.executors.base import ExecutorError, Handle, Observation, Offer, Phase, Spec
from fedproc.site.executors.confinement import disk
from fedproc.site.executors.confinement.record import Record, forget, read_record, write_record
from fedproc.site.executors.records import kept_output, observation_of, records_in
from fedproc.site.executors.sandbox import request_of
from fedproc.site.executors.slurm.allocation import ORDER
from fedproc.site.executors.slurm.commands import Slurm, SlurmAwayError
from fedproc.site.executors.slurm.job_states import word_of
from fedproc.site.settings import SlurmSettings

log = get_logger(__name__)

_NUMBER, _HANDING, _CANCELLED = "number", "handing", "cancelled"
_LOOK, _LONGEST_LOOK = 0.05, 2.0
_FIRST_ASK_SECONDS, _ASK_SECONDS = 2.0, 10.0
"""between two questions to Slurm about a job that has written no end"""
_SETTLE_SECONDS = 15.0
"""for which the record of a job that Slurm calls over may still be on its way through a shared file system"""
_FOREIGN = "it was cancelled in Slurm by somebody else, while the job ran"
_MEGABYTE = 1 << 20
_MARGIN = 64 * _MEGABYTE
"""of memory, for the program beside the job"""


class SlurmExecutor:
    """Implements :class:`fedproc.site.executors.base.Executor`; records and output are kept below ``folder``."""

    name = "slurm"

    def __init__(self, folder: Path, settings: SlurmSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._slurm = Slurm()
        self._cancelled: set[str] = set()
        """those of which a full disk has not taken the mark"""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def submit(self, spec: Spec) -> Handle:
        folder = self._folder / spec.job
        handle: Handle = {"job": spec.job, "folder": str(folder), "grace": spec.stop.grace}
        async with self._turn(spec.job):
            if (folder / _NUMBER).exists() or read_record(folder) is not None:
                return handle
            try:
                await self._hand_over(spec, folder)
            except BaseException as error:
                if not (folder / _HANDING).exists():
                    await asyncio.to_thread(forget, folder)
                if isinstance(error, OSError):
                    raise ExecutorError(f"{error.filename}: {error.strerror}") from error
                raise
        return handle

    async def poll(self, handle: Handle, *, until_exit: bool = False) -> Observation:
        seen = await asyncio.to_thread(self._seen, handle)
        if not until_exit or seen.phase is not Phase.running:
            return seen
        folder, pause = Path(handle["folder"]), _LOOK
        over = asyncio.create_task(self._over(folder))  # which may take long: its controller may be away
        try:
            while seen.phase is Phase.running and not over.done():
                await asyncio.wait({over}, timeout=pause)
                seen, pause = await asyncio.to_thread(self._seen, handle), min(pause * 1.5, _LONGEST_LOOK)
        finally:
            over.cancel()
        return seen if seen.phase is not Phase.running else await self._settled(handle, over.result())

    def logs(self, handle: Handle, stream: str = "stdout", *, offset: int = 0) -> AsyncIterator[bytes]:
        return kept_output(Path(handle["folder"]), stream, offset)

    async def cancel(self, handle: Handle) -> None:
        folder = Path(handle["folder"])
        record = read_record(folder)
        if record is not None and record.phase == Phase.exited:
            return
        number = await self._known(handle["job"])
        if number is None:
            return
        self._cancelled.add(handle["job"])
        await asyncio.to_thread(self._was_cancelled, folder)
        if record is not None:
            await self._slurm.signal(number, "SIGTERM")
        else:
            await self._slurm.cancel(number)

    async def discard(self, handle: Handle) -> None:
        folder = self._folder / handle["job"]
        async with self._turn(handle["job"]):
            number = await self._known(handle["job"])
            if number is not None:
                await self._slurm.cancel(number)
                await self._gone(number)
            await asyncio.to_thread(forget, folder)
            self._cancelled.discard(handle["job"])

    async def offer(self) -> Offer:
        try:
            config = await self._slurm.configuration()
        except ExecutorError as error:
            return Offer(obstacle=error.message, away=isinstance(error, SlurmAwayError))
        constrained = {"memory": "ConstrainRAMSpace", "cpus": "ConstrainCores"}
        cure = "ProctrackType=proctrack/cgroup and TaskPlugin=task/cgroup in slurm.conf, {}=yes in cgroup.conf"
        lacks = {limit: cure.format(key) for limit, key in constrained.items() if config.get(key, "no") != "yes"}
        lacks["pids"] = "Slurm limits no number of processes: looked at twice a second inside the allocation"
        return Offer(f"Slurm {config.get('SLURM_VERSION', '')} of {config.get('ClusterName', '?')}", "", lacks)

    async def records(self) -> dict[str, tuple[float, int]]:
        return await asyncio.to_thread(records_in, self._folder)

    # -- handing over ----------------------------------------------------------------------------

    async def _hand_over(self, spec: Spec, folder: Path) -> None:
        """Nothing twice: before the cluster is asked it is noted here, and what it may have taken is looked for.

        The note stays unless the cluster refuses the job: who submits again, or discards, finds it by its name.
        """
        if spec.limits.gpus:
            raise ExecutorError("this host's executor, slurm, gives jobs no GPUs", code="system_fault.slurm")
        known = (folder / _HANDING).exists()
        order = await asyncio.to_thread(request_of, spec, [])
        for source, _ in order["mounts"]:
            await asyncio.to_thread(Path(source).stat)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(write_atomically, folder / ORDER, json.dumps(order).encode())
        if self._settings.user is not None:
            await asyncio.to_thread(disk.let_pass, spec.workspace, self._settings.user)
            for place in (str(folder), *(source for source, _ in order["writable"])):
                await disk.own(place, self._settings.user)
        (folder / _HANDING).touch()
        number = await self._slurm.find(_name(spec.job)) if known else None
        if number is None:
            number = await self._asked(spec, folder)
        await asyncio.to_thread(write_atomically, folder / _NUMBER, number.encode())

    async def _asked(self, spec: Spec, folder: Path) -> str:
        try:
            return await self._slurm.submit(self._options(spec, folder), self._script(folder))
        except SlurmAwayError:
            raise
        except ExecutorError:
            (folder / _HANDING).unlink()
            raise

    async def _known(self, job: str) -> str | None:
        """What the cluster calls it; None for one that was never about to be handed over, or that it has no more."""
        folder = self._folder / job
        return _number(folder) or (await self._slurm.find(_name(job)) if folder.exists() else None)

    def _options(self, spec: Spec, folder: Path) -> list[str]:
        settings, limits = self._settings, spec.limits
        options = {
            "job-name": _name(spec.job),
            "comment": "fedproc",
            "output": str(folder / "batch.log"),
            "chdir": "/",
            "export": "NIL",  # with NONE the node asks a login shell of the user
            "nodes": "1",
            "ntasks": "1",
            "cpus-per-task": str(max(1, math.ceil(limits.cpus))),
            "mem": f"{math.ceil((limits.memory + _MARGIN) / _MEGABYTE)}M",
            "partition": settings.partition,
            "account": settings.account,
            "qos": settings.qos,
            "time": str(settings.minutes) if settings.minutes else None,
            "uid": str(settings.user) if settings.user is not None else None,
            "gid": str(settings.user) if settings.user is not None else None,
        }
        return ["--no-requeue", *(f"--{name}={value}" for name, value in options.items() if value is not None)]

    def _script(self, folder: Path) -> str:
        command = [str(self._settings.python), "-m", "fedproc.site.executors.slurm.allocation", str(folder)]
        return f"#!/bin/sh\nexec {shlex.join(command)}\n"

    # -- the end ---------------------------------------------------------------------------------

    async def _over(self, folder: Path) -> str | None:
        """Slurm's word, once that is that it is over; None where it knows it no more. No answer says nothing."""
        pause = _FIRST_ASK_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = _ASK_SECONDS
            try:
                state = await self._slurm.state(_number(folder) or "")
            except ExecutorError as error:
                log.warning("slurm.away", job=folder.name, reason=error.message)
            else:
                if state is None or word_of(state).over:
                    return state

    async def _settled(self, handle: Handle, state: str | None) -> Observation:
        """Of one that Slurm calls over: the end that it wrote, which may still be on its way, or Slurm's word."""
        folder = Path(handle["folder"])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_SECONDS if read_record(folder) else _LONGEST_LOOK):
                while (seen := await asyncio.to_thread(self._seen, handle)).phase is Phase.running:
                    await asyncio.sleep(_LOOK)
                return seen
        return observation_of(asdict(await self._end(folder, read_record(folder), state)))

    async def _end(self, folder: Path, record: Record | None, state: str | None) -> Record:
        """Slurm ended it, or lost it: the inside could not say how."""
        word = word_of(state) if state else None
        ended = record or Record(folder.name)
        ended.phase, ended.limit = "exited", word.limit if word else None
        ended.cancelled = self._was_cancelled(folder)
        ended.exit_code = 143 if ended.cancelled and record is None else None
        ended.detail = (word and word.detail) or f"Slurm calls it {state or 'unknown'}; it was lost while the job ran"
        try:
            await asyncio.to_thread(write_record, folder, ended)
        except OSError as error:  # who asks again is told the same
            log.warning("record.waits", job=folder.name, reason=str(error))
        return ended

    async def _gone(self, number: str) -> None:
        """Wait until no process of it is left."""
        while (state := await self._slurm.state(number)) is not None:
            if word_of(state).over and state != "COMPLETING":
                return
            await asyncio.sleep(0.2)

    def _turn(self, job: str) -> asyncio.Lock:
        return self._turns.setdefault(job, asyncio.Lock())

    def _seen(self, handle: Handle) -> Observation:
        """What the job's folder says. One that was cancelled, and not from here, is lost."""
        folder = Path(handle["folder"])
        cancelled = self._was_cancelled(folder)
        record = read_record(folder)
        if record is None:
            return Observation(Phase.running if (folder / _NUMBER).exists() else Phase.absent)
        seen = observation_of(asdict(record))
        if seen.phase is Phase.exited and seen.cancelled and not cancelled:
            return replace(seen, exit_code=None, cancelled=False, detail=_FOREIGN)
        return seen

    def _was_cancelled(self, folder: Path) -> bool:
        """Whether it was from here. The mark that a full disk does not take is written again at each look."""
        if folder.name in self._cancelled:
            with contextlib.suppress(OSError):
                (folder / _CANCELLED).touch()
                self._cancelled.discard(folder.name)
            return True
        return (folder / _CANCELLED).exists()


def _number(folder: Path) -> str | None:
    try:
        return (folder / _NUMBER).read_text().strip()
    except FileNotFoundError:
        return None


def _name(job: str) -> str:
    """By which the cluster shows the job, and by which it is found again."""
    return f"fedproc-{job}"
