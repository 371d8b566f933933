"""Exchanges and queues as :mod:`fedproc.contract.wire.routing` names them; declared by the relay alone."""

from __future__ import annotations

from typing import Any

from fedproc.common.amqp import Channel
from fedproc.contract.wire import routing

_AT_LEAST_ONCE = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


class Topology:
    """Declares; ``major`` is the broker's major version."""

    def __init__(self, channel: Channel, major: int) -> None:
        self._channel = channel
        # RabbitMQ 4 drops a message after 20 deliveries unless told otherwise; 3 knows no such limit.
        self._unlimited = {"x-delivery-limit": -1} if major >= 4 else {}
        self._declared: set[str] = set()

    async def declare(self) -> None:
        """What does not depend on hosts."""
        kinds = {routing.JOBS: "direct", routing.CONTROL: "direct", routing.EVENTS: "topic", routing.DEAD: "fanout"}
        for name, kind in kinds.items():
            await self._channel.declare_exchange(name, kind)
        await self._declare_queue(routing.DEAD, routing.DEAD, "", {})

    async def declare_host(self, host: str) -> None:
        """A host's three queues, unless they were declared on this connection before."""
        if host in self._declared:
            return
        inbound = {"x-dead-letter-exchange": routing.DEAD, **_AT_LEAST_ONCE}
        await self._declare_queue(routing.jobs_queue(host), routing.JOBS, host, inbound)
        await self._declare_queue(routing.control_queue(host), routing.CONTROL, host, inbound)
        outbound = {
            "x-single-active-consumer": True,
            "x-max-length": routing.EVENTS_MAX_LENGTH,
            "x-overflow": "reject-publish",
        }
        await self._declare_queue(routing.events_queue(host), routing.EVENTS, routing.events_binding(host), outbound)
        self._declared.add(host)

    def forget(self, host: str) -> None:
        """A queue of the host is not there after all."""
        self._declared.discard(host)

    async def waiting_jobs(self, host: str) -> int:
        """How many messages wait in the host's jobs queue."""
        return await self._channel.waiting(routing.jobs_queue(host))

    async def _declare_queue(self, name: str, exchange: str, routing_key: str, arguments: dict[str, Any]) -> None:
        await self._channel.declare_queue(name, {"x-queue-type": "quorum", **arguments, **self._unlimited})
        await self._channel.bind(name, exchange, routing_key)
