"""Ending a job's processes, also those that its executor only starts just now, or has started for a lost daemon."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection

from fedproc.common.errors import SystemFaultError
from fedproc.site.executors.base import Executor, Handle, Observation, Phase
from fedproc.site.jobs.execution import Execution
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.writer import RecordWriter
from fedproc.site.journal import JournalError

_STOP_SECONDS = 630.0
"""the longest grace of a tool and some more: then its processes are told to end once more"""
_SUBMISSION_SECONDS = 30.0
"""that a submission which nobody wants any more has to come to its end; then it is broken off, and has as long again"""
_JOURNAL_SECONDS = 5.0


class Processes:
    """Of one job. ``recovered``: a daemon before this one had it."""

    def __init__(self, services: Services, record: JobRecord, writer: RecordWriter, *, recovered: bool) -> None:
        self._services = services
        self._record = record
        self._writer = writer
        self._recovered = recovered
        self.execution: Execution | None = None
        """what may have started some, once there is one"""

    async def stop(self) -> None:
        """Returns when none is left, and none can come any more; may be repeated. Raises :class:`SystemFaultError`."""
        record, execution, executor = self._record, self.execution, self._services.executor
        await self._end_submission()
        if record.handle is None and (self._recovered or execution is not None):
            await _discard_unknown(executor, record, self._services.runtimes.names)
        if record.handle is None or (execution is not None and execution.over):
            return
        if (await executor.poll(record.handle)).phase is not Phase.running:
            return
        with contextlib.suppress(JournalError):  # a daemon after this one should not take our signal for its own end
            await self._writer.written_within(_JOURNAL_SECONDS)
        await executor.cancel(record.handle)
        record.exit_code = (await _end_of(executor, record.handle)).exit_code
        if execution is not None:
            await execution.finish_streams(record.handle)

    async def _end_submission(self) -> None:
        """An executor that hangs may start the job yet: until it has answered, or given up, the job keeps its share."""
        submissions, job = self._services.submissions, self._record.job
        if await submissions.ended(job, _SUBMISSION_SECONDS):
            return
        submissions.break_off(job)
        if not await submissions.ended(job, _SUBMISSION_SECONDS):
            raise SystemFaultError("its executor has not said yet whether it started; see why that does not answer")


async def _end_of(executor: Executor, handle: Handle) -> Observation:
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            return await executor.poll(handle, until_exit=True)
    except TimeoutError:
        raise SystemFaultError(f"they have not ended {_STOP_SECONDS:.0f} s after they were told to") from None


async def _discard_unknown(executor: Executor, record: JobRecord, names: Collection[str]) -> None:
    """A step may have been started, by a lost daemon or half, that only its executor knows: no other one is asked."""
    known = {"executor": record.executor} if record.executor in names else {}
    for name in (record.job, f"{record.job}-{record.step}"):
        await executor.discard({"job": name, **known})
