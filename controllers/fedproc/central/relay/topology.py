"""Exchanges and queues as :mod:`fedproc.contract.wire.routing` names them; declared by the relay alone."""

from __future__ import annotations

from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange

from fedproc.contract.wire import routing

_AT_LEAST_ONCE = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


class Topology:
    """Declares; ``major`` is the broker's major version."""

    def __init__(self, channel: AbstractChannel, major: int) -> None:
        self._channel = channel
        # RabbitMQ 4 drops a message after 20 deliveries unless told otherwise; 3 knows no such limit.
        self._unlimited = {"x-delivery-limit": -1} if major >= 4 else {}
        self.jobs: AbstractExchange
        self.control: AbstractExchange
        self._events: AbstractExchange
        self._declared: set[str] = set()

    async def declare(self) -> None:
        """What does not depend on hosts."""
        self.jobs = await self._channel.declare_exchange(routing.JOBS, aio_pika.ExchangeType.DIRECT, durable=True)
        self.control = await self._channel.declare_exchange(routing.CONTROL, aio_pika.ExchangeType.DIRECT, durable=True)
        self._events = await self._channel.declare_exchange(routing.EVENTS, aio_pika.ExchangeType.TOPIC, durable=True)
        dead = await self._channel.declare_exchange(routing.DEAD, aio_pika.ExchangeType.FANOUT, durable=True)
        queue = await self._channel.declare_queue(
            routing.DEAD, durable=True, arguments={"x-queue-type": "quorum", **self._unlimited}
        )
        await queue.bind(dead)

    async def declare_host(self, host: str) -> bool:
        """A host's three queues; False if they were declared on this connection before."""
        if host in self._declared:
            return False
        inbound: dict[str, Any] = {
            "x-queue-type": "quorum",
            "x-dead-letter-exchange": routing.DEAD,
            **_AT_LEAST_ONCE,
            **self._unlimited,
        }
        for exchange, name in ((self.jobs, routing.jobs_queue(host)), (self.control, routing.control_queue(host))):
            queue = await self._channel.declare_queue(name, durable=True, arguments=inbound)
            await queue.bind(exchange, host)
        outbound: dict[str, Any] = {
            "x-queue-type": "quorum",
            "x-single-active-consumer": True,
            "x-max-length": routing.EVENTS_MAX_LENGTH,
            "x-overflow": "reject-publish",
            **self._unlimited,
        }
        events = await self._channel.declare_queue(routing.events_queue(host), durable=True, arguments=outbound)
        await events.bind(self._events, routing.events_binding(host))
        self._declared.add(host)
        return True

    async def waiting_jobs(self, host: str) -> int:
        """How many messages wait in the host's jobs queue."""
        queue = await self._channel.declare_queue(routing.jobs_queue(host), passive=True)
        return int(queue.declaration_result.message_count or 0)
