"""What a running job prints and measures, sent to the centre as far as the site's policy allows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from fedproc.contract.times import now
from fedproc.contract.wire.messages import Record
from fedproc.site.executors.records import grown
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.workspace import Workspace

Save = Callable[[list[tuple[str, str]]], None]

_POLL_SECONDS = 0.25
_TAIL_BYTES = 1 << 18
_LINE = 4096
_RECORDS = 20_000
_METRICS = "metrics.jsonl"


class Streams:
    """Metrics, standard output and standard error of one job. ``save`` journals the record with the messages."""

    def __init__(self, services: Services, record: JobRecord, workspace: Workspace, save: Save) -> None:
        self._services = services
        self._record = record
        self._workspace = workspace
        self._save = save

    @property
    def names(self) -> tuple[str, ...]:
        """The streams that the site's policy lets leave."""
        policy = self._services.policy
        return (("metrics",) if policy.metrics else ()) + (("stdout", "stderr") if policy.logs else ())

    async def follow(self, handle: dict[str, Any]) -> None:
        """Send what comes, until cancelled. Growing files give no event that works everywhere, so they are polled."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            await self.catch_up(handle)

    async def catch_up(self, handle: dict[str, Any]) -> None:
        """Send what is there and was not sent yet; each line is sent once, whenever this is ended."""
        for stream in self.names:
            offset, sent = self._record.tails.get(stream, (0, 0))
            if sent >= _RECORDS:
                continue
            data = await self._read(handle, stream, offset)
            data = data[: data.rfind(b"\n") + 1] or (data if len(data) >= _TAIL_BYTES else b"")
            if data:
                self._emit(stream, offset, sent, data)

    def _emit(self, stream: str, offset: int, sent: int, data: bytes) -> None:
        """What was read is noted and saved in one step: between the two, this may be ended at any moment."""
        records = self._records(stream, sent, data)
        self._record.tails[stream] = (offset + len(data), sent + len(records))
        self._save([("record", record.model_dump_json(exclude_defaults=True)) for record in records])

    async def _read(self, handle: dict[str, Any], stream: str, offset: int) -> bytes:
        if stream == "metrics":
            if not grown(self._workspace.work / _METRICS, offset):
                return b""
            return await asyncio.to_thread(self._workspace.read_work, _METRICS, offset, _TAIL_BYTES)
        parts = [part async for part in self._services.executor.logs(handle, stream, offset=offset)]
        return b"".join(parts)[:_TAIL_BYTES]

    def _records(self, stream: str, sent: int, data: bytes) -> list[Record]:
        lines = [line[:_LINE].decode(errors="replace") for line in data.splitlines()]
        common: dict[str, Any] = {
            "host": self._services.settings.host,
            "epoch": self._services.journal.epoch,
            "job": self._record.job,
            "experiment": self._record.order.experiment,
            "stream": stream,
            "time": now(),
        }
        if stream != "metrics":
            return [Record(sequence=sent + 1, lines=tuple(lines), **common)]
        metrics = [value for value in map(_metrics, lines) if value is not None]
        return [Record(sequence=sent + i, metrics=value, **common) for i, value in enumerate(metrics, 1)]


def _metrics(line: str) -> dict[str, Any] | None:
    """One line of metrics: a flat JSON object of numbers and short texts; anything else is left out."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    kept = {
        k: v for k, v in value.items() if isinstance(v, int | float | bool) or (isinstance(v, str) and len(v) < 200)
    }
    return kept or None
