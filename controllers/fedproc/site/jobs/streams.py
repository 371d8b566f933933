"""What a running job prints and measures, sent to the centre as far as the site's policy allows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fedproc.common.log import get_logger
from fedproc.common.text import of_bytes
from fedproc.contract.times import now
from fedproc.contract.tool.metrics import MetricDecl
from fedproc.contract.wire.messages import Record
from fedproc.site.executors.records import grown
from fedproc.site.jobs.metrics import MetricFilter
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.workspace import Workspace

Save = Callable[[list[tuple[str, str]]], None]

_POLL_SECONDS = 0.25
_TAIL_BYTES = 1 << 18
_LINE = 4096
_RECORDS = 20_000
_METRICS = "metrics.jsonl"
_METRICS_BYTES = 16 << 20
"""of that file are looked at; of what a job prints as much is kept"""

_log = get_logger(__name__)


class Streams:
    """Metrics, standard output and standard error of one job. ``save`` journals the record with the messages.

    Of its metrics those leave that its task has ``declared``; a task that declares none sends none.
    """

    def __init__(
        self,
        services: Services,
        record: JobRecord,
        workspace: Workspace,
        save: Save,
        declared: Iterable[MetricDecl] = (),
    ) -> None:
        self._services = services
        self._record = record
        self._workspace = workspace
        self._save = save
        self._metrics = MetricFilter(declared) if tuple(declared) else None

    @property
    def names(self) -> tuple[str, ...]:
        """The streams that the site's policy lets leave: of those that the log has, once the job has started."""
        policy, logged = self._services.policy, self._record.streams
        shown = policy.metrics and self._metrics is not None
        allowed = (("metrics",) if shown else ()) + (("stdout", "stderr") if policy.logs else ())
        return tuple(stream for stream in allowed if logged is None or stream in logged)

    async def follow(self, handle: dict[str, Any]) -> None:
        """Send what comes, until cancelled. Growing files give no event that works everywhere, so they are polled."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            await self.catch_up(handle)

    async def catch_up(self, handle: dict[str, Any]) -> None:
        """Send the whole lines that are there and were not sent yet; each is sent once, whenever this is ended."""
        for stream in self.names:
            await self._send_next(handle, stream, last=False)

    async def finish(self, handle: dict[str, Any]) -> None:
        """Send all that is left, when nobody writes any more: also a last line without its end."""
        for stream in self.names:
            while await self._send_next(handle, stream, last=True):
                pass
        if self._metrics is not None:
            self._end_metrics(self._metrics)
            self._metrics.report(_log.bind(job=self._record.job))

    def _end_metrics(self, metrics: MetricFilter) -> None:
        """Send the last line that was measured, if it waits for room: a curve has its end."""
        offset, sent = self._record.tails.get("metrics", (0, 0))
        if "metrics" in self.names and (left := metrics.ending(self._services.policy, sent)):
            self._keep("metrics", offset, sent, self._measured(left, sent))

    def restart(self) -> None:
        """The next step prints from the beginning; what it measures goes on in the same file."""
        for stream in ("stdout", "stderr"):
            if stream in self._record.tails:
                self._record.tails[stream] = (0, self._record.tails[stream][1])

    async def _send_next(self, handle: dict[str, Any], stream: str, *, last: bool) -> bool:
        """Whether there was anything to send."""
        offset, sent = self._record.tails.get(stream, (0, 0))
        if sent >= _RECORDS:
            return False
        data = await self._read(handle, stream, offset)
        whole = data[: data.rfind(b"\n") + 1]
        data = whole or (data if last or len(data) >= _TAIL_BYTES else b"")
        if data:
            self._emit(stream, offset, sent, data)
        return bool(data)

    def _emit(self, stream: str, offset: int, sent: int, data: bytes) -> None:
        """What was read is noted and saved in one step: between the two, this may be ended at any moment."""
        self._keep(stream, offset + len(data), sent, self._records(stream, sent, data))

    def _keep(self, stream: str, offset: int, sent: int, records: list[Record]) -> None:
        self._record.tails[stream] = (offset, sent + len(records))
        self._save([("record", record.model_dump_json(exclude_defaults=True)) for record in records])

    async def _read(self, handle: dict[str, Any], stream: str, offset: int) -> bytes:
        if stream == "metrics":
            if offset >= _METRICS_BYTES or not grown(self._workspace.work / _METRICS, offset):
                return b""
            return await asyncio.to_thread(self._workspace.read_work, _METRICS, offset, _TAIL_BYTES)
        data = b""
        async for part in self._services.executor.logs(handle, stream, offset=offset):
            data += part
            if len(data) >= _TAIL_BYTES:
                break
        return data[:_TAIL_BYTES]

    def _records(self, stream: str, sent: int, data: bytes) -> list[Record]:
        if stream != "metrics" or self._metrics is None:
            lines = tuple(of_bytes(line[:_LINE]) for line in data.splitlines())
            return [Record(sequence=sent + 1, lines=lines, **self._place(stream))]
        return self._measured(self._metrics.passed(data.splitlines(), self._services.policy, sent), sent)

    def _measured(self, values: Iterable[Mapping[str, int | float]], sent: int) -> list[Record]:
        place = self._place("metrics")
        return [Record(sequence=sent + i, metrics=dict(value), **place) for i, value in enumerate(values, 1)]

    def _place(self, stream: str) -> dict[str, Any]:
        return {
            "host": self._services.settings.host,
            "epoch": self._services.journal.epoch,
            "job": self._record.job,
            "experiment": self._record.order.experiment,
            "stream": stream,
            "time": now(),
        }
