"""What hosts' queues deliver, on its way into the database: bounded in bytes for each host, and taken in turn.

A host's queue is consumed with a prefetch of :data:`WIDE` messages. A host whose messages hold more than
:data:`HOST_BYTES` of memory gets the rest back into its queue, and is then given one message at a time, until it has
been quiet for a while. So what one host sends fills neither the memory nor the turn of others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from fedproc.common.amqp import Channel, Delivery, Receive
from fedproc.common.log import get_logger
from fedproc.contract.wire import limits, routing

log = get_logger(__name__)

WIDE, NARROW = 16, 1
"""messages of one host's queue that are not acked"""
HOST_BYTES = 2 * limits.MESSAGE_BYTES
"""of one host's messages in memory"""
BATCH = 500
BATCH_BYTES = limits.MESSAGE_BYTES
"""of one transaction: about as long as it may keep others waiting"""
WIDEN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Received:
    """A message, the host whose queue it came by, and the kind that its routing key says."""

    host: str
    delivery: Delivery

    @property
    def kind(self) -> str:
        return self.delivery.routing_key.rpartition(".")[2]

    @property
    def size(self) -> int:
        return len(self.delivery.body)


class Waiting:
    """Messages that wait to be taken in, by host; hosts have their turns one after the other."""

    def __init__(self) -> None:
        self._of_host: dict[str, deque[Received]] = {}
        self._held: dict[str, int] = {}
        self._some = asyncio.Event()

    def held(self, host: str) -> int:
        """Bytes of the host's messages that wait, or are being taken in."""
        return self._held.get(host, 0)

    def put(self, one: Received) -> None:
        self._of_host.setdefault(one.host, deque()).append(one)
        self._held[one.host] = self.held(one.host) + one.size
        self._some.set()

    async def batch(self) -> list[Received]:
        """Wait for some, and take the next: one of each host that has some, then again, until it is enough."""
        await self._some.wait()
        batch, size = list[Received](), 0
        while self._of_host and len(batch) < BATCH and size < BATCH_BYTES:
            host = next(iter(self._of_host))
            queue = self._of_host.pop(host)
            batch.append(queue.popleft())
            size += batch[-1].size
            if queue:
                self._of_host[host] = queue  # behind all others
        if not self._of_host:
            self._some.clear()
        return batch

    def done(self, batch: Sequence[Received]) -> None:
        """They are taken in: they hold no memory any more."""
        for one in batch:
            self._held[one.host] = self.held(one.host) - one.size
            if not self._held[one.host]:
                del self._held[one.host]


class Consumers:
    """Consumes hosts' events queues into ``waiting``, on channels with prefetch :data:`WIDE` and :data:`NARROW`."""

    def __init__(self, wide: Channel, narrow: Channel, waiting: Waiting) -> None:
        self._channels = {False: wide, True: narrow}
        self._waiting = waiting
        self._tags: dict[str, str] = {}
        self._narrow: set[str] = set()
        self._change = asyncio.Lock()
        self._narrowing = set[asyncio.Task[None]]()

    async def start(self, host: str) -> None:
        """Consume the host's queue, unless it is consumed already."""
        async with self._change:
            if host not in self._tags:
                await self._consume(host)

    async def _consume(self, host: str) -> None:
        channel = self._channels[host in self._narrow]
        self._tags[host] = await channel.consume(routing.events_queue(host), self._receiver(host))

    def _receiver(self, host: str) -> Receive:
        async def receive(message: Delivery) -> None:
            one, held = Received(host, message), self._waiting.held(host)
            if host in self._narrow or not held or held + one.size <= HOST_BYTES:
                self._waiting.put(one)
            else:
                self._to_narrow(host, message)

        return receive

    def _to_narrow(self, host: str, message: Delivery) -> None:
        task = asyncio.create_task(self._narrow_and_return(host, message))
        self._narrowing.add(task)
        task.add_done_callback(self._narrowed)

    async def _narrow_and_return(self, host: str, message: Delivery) -> None:
        """The queue gets it back when it is read one by one: sooner, it would bring it again at once."""
        await self._switch(host, narrow=True)
        message.nack()

    def _narrowed(self, task: asyncio.Task[None]) -> None:
        self._narrowing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.warning("host.not_narrowed", reason=str(error))  # with the session, which its watcher ends

    async def _switch(self, host: str, *, narrow: bool) -> None:
        async with self._change:
            if (host in self._narrow) == narrow:
                return
            if narrow:
                reason = "its messages are many and large"
                log.warning("host.narrowed", host=host, held=self._waiting.held(host), reason=reason)
            await self._channels[not narrow].cancel(self._tags[host])
            (self._narrow.add if narrow else self._narrow.discard)(host)
            await self._consume(host)

    async def keep_widening(self) -> None:
        """Give hosts that have become quiet their usual number of messages again."""
        while True:
            await asyncio.sleep(WIDEN_SECONDS)
            for host in [host for host in self._narrow if not self._waiting.held(host)]:
                await self._switch(host, narrow=False)
