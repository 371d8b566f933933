"""Bytes of connections: counted and carried both ways, and how many streams may be open for that."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedproc.common.log import get_logger
from fedproc.contract.wire.messages import ConnectionUse
from fedproc.site.centre.egress import Stream

log = get_logger(__name__)

Changed = Callable[[], None]

_CHUNK = 1 << 16
_NOTED = 32
"""The counts are journalled each time that such a part of the budget was used: a restart forgets no more than that."""
_RESERVE = 512
"""descriptors that are left to everything else: the journal, the broker, files, and streams that are being refused"""
_SAID_SECONDS = 60.0


@dataclass
class Meter:
    """Bytes over one job's connections with one task of one host, and the most that may go each way.

    ``key`` is the thumbprint that the host's certificate must show, if the centre named it.
    """

    task: str
    host: str
    budget: int
    key: str | None = None
    sent: int = 0
    received: int = 0
    cut: str | None = None

    def use(self) -> ConnectionUse:
        return ConnectionUse(task=self.task, host=self.host, sent=self.sent, received=self.received, cut=self.cut)

    @property
    def parts(self) -> int:
        """How many parts of the budget were used."""
        return (self.sent + self.received) * _NOTED // max(self.budget, 1)


class StreamLimit:
    """How many streams are open: so many of each job, and in all, and no more than there are descriptors for."""

    def __init__(self, most: int, per_job: int) -> None:
        self._most = min(most, _possible())
        self._per_job = min(per_job, max(1, self._most // 2))
        self._open: Counter[str] = Counter()
        self._of_job: Counter[str] = Counter()
        self._said: dict[str, float] = {}

    @contextlib.contextmanager
    def one(self, job: str, peer: str) -> Iterator[bool]:
        """Room for a stream of ``job`` with the host ``peer`` while the block lasts; says whether there is one.

        A peer that fills its own keeps no other peer of the job out.
        """
        key = f"{job} {peer}"
        if not (free := self._has_room(key, job)):
            self._say(key, job, peer)
        self._open[key] += free
        self._of_job[job] += free
        try:
            yield free
        finally:
            self._open[key] -= free
            self._of_job[job] -= free
            for counter, one in ((self._open, key), (self._of_job, job)):
                if not counter[one]:
                    del counter[one]

    def _has_room(self, key: str, job: str) -> bool:
        """A job with many peers leaves half of all streams to the others."""
        half = max(1, self._most // 2)
        return self._open[key] < self._per_job and self._of_job[job] < half and self._open.total() < self._most

    def _say(self, key: str, job: str, peer: str) -> None:
        if time.monotonic() - self._said.get(key, -_SAID_SECONDS) < _SAID_SECONDS:
            return
        self._said = {one: at for one, at in self._said.items() if one in self._open} | {key: time.monotonic()}
        log.warning("connection.too_many", job=job, peer=peer, open=self._open[key], in_all=self._open.total())


def _possible() -> int:
    """Two descriptors a stream."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (most - min(_RESERVE, most // 2)) // 2 if most != resource.RLIM_INFINITY else 1 << 20


async def carry(job: Stream, net: Stream, meter: Meter, changed: Changed) -> None:
    """Carry bytes both ways until one side ends or the budget is used up, then close both."""

    def count(sent: int, received: int) -> bool:
        before = meter.parts
        meter.sent += sent
        meter.received += received
        within = max(meter.sent, meter.received) <= meter.budget
        if within and meter.parts > before:
            changed()
        return within

    ways = {
        asyncio.create_task(_pump(job[0], net[1], lambda size: count(size, 0))),
        asyncio.create_task(_pump(net[0], job[1], lambda size: count(0, size))),
    }
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if any(not way.result() for way in done):
            meter.cut = f"more than the {meter.budget} bytes that the site's policy allows"
            changed()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for _, writer in (job, net):
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: Callable[[int], bool]) -> bool:
    """Copy until the end; False if the count forbade to go on."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while chunk := await reader.read(_CHUNK):
            if not counted(len(chunk)):
                return False
            writer.write(chunk)
            await writer.drain()
    return True
