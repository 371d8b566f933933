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
from fedproc.site.connections.http_messages import REFUSED, MessageError, Messages

log = get_logger(__name__)

Changed = Callable[[], None]

_CHUNK = 1 << 16
_NOTED = 32
"""The counts are journalled each time that such a part of a limit was used: a restart forgets no more than that."""
_RESERVE = 512
"""descriptors that are left to everything else: the journal, the broker, files, and streams that are being refused"""
_SAID_SECONDS = 60.0


@dataclass(frozen=True)
class Limits:
    """Bytes out and in, and rounds; None is no limit beside the budget."""

    sent: int | None = None
    received: int | None = None
    rounds: int | None = None

    def plus(self, other: Limits) -> Limits:
        """What both together may; where one has no limit, they have none."""
        return Limits(_sum(self.sent, other.sent), _sum(self.received, other.received), _sum(self.rounds, other.rounds))


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


@dataclass
class Meter:
    """Bytes over one job's connections with one task of one host, and the most that may go each way.

    ``key`` is the thumbprint that the host's certificate must show, if the centre named it. ``limits`` are further
    limits of bytes and rounds; a round begins with the first bytes of the end that dialled (the peer where it is
    ``admitted``), and with its first bytes after some came the other way.
    """

    task: str
    host: str
    budget: int
    key: str | None = None
    sent: int = 0
    received: int = 0
    cut: str | None = None
    limits: Limits = Limits()
    rounds: int = 0
    admitted: bool = False
    messages: Messages | None = None
    """what may go out, where the tool declares it"""

    def use(self) -> ConnectionUse:
        return ConnectionUse(
            task=self.task, host=self.host, sent=self.sent, received=self.received, rounds=self.rounds, cut=self.cut
        )

    @property
    def parts(self) -> int:
        """How many parts were used of what may go each way, by the smallest limit of it, and of the rounds."""
        limits = self.limits
        of_rounds = self.rounds * _NOTED // limits.rounds if limits.rounds else 0
        return self._parts(self.sent, limits.sent) + self._parts(self.received, limits.received) + of_rounds

    def _parts(self, used: int, most: int | None) -> int:
        least = self.budget if most is None else min(self.budget, most)
        return used * _NOTED // max(least, 1)

    def exceeded(self) -> str | None:
        """Which limit was passed, in words; a message that was refused is the last one, too."""
        limits = self.limits
        if self.cut == REFUSED:
            return REFUSED
        if max(self.sent, self.received) > self.budget:
            return f"more than the {self.budget} bytes that the site's policy allows"
        if limits.sent is not None and self.sent > limits.sent:
            return f"more than the {limits.sent} bytes to the peer that the tool declares"
        if limits.received is not None and self.received > limits.received:
            return f"more than the {limits.received} bytes from the peer that the tool declares"
        if limits.rounds is not None and self.rounds > limits.rounds:
            return f"more than {limits.rounds} rounds, which are the most that tool or policy allow"
        return None


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
    """Carry bytes both ways until one side ends or a limit is passed, then close both."""
    asks = meter.admitted  # whether it is the end that dialled whose bytes begin a round
    last_asked = False

    def count(sent: int, received: int) -> bool:
        nonlocal last_asked
        before, asked = meter.parts, bool(received if asks else sent)
        meter.rounds += asked and not last_asked
        last_asked = asked
        meter.sent += sent
        meter.received += received
        within = meter.exceeded() is None
        if within and meter.parts > before:
            changed()
        return within

    outwards = meter.messages.pump if meter.messages is not None else _pump
    ways = {
        asyncio.create_task(outwards(job[0], net[1], lambda size: count(size, 0))),
        asyncio.create_task(_pump(net[0], job[1], lambda size: count(0, size))),
    }
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if any(not way.result() for way in done):
            meter.cut = meter.exceeded()
            changed()
    except MessageError:
        meter.cut = REFUSED
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
