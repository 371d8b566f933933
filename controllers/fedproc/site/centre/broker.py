"""The host's one connection to the broker: it consumes its own two queues and publishes its own events.

The connection is outgoing, by TLS, with the host's token as password; the token is renewed on the open
connection before it expires, and a lost connection is made again with growing pauses.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from fedproc.common.amqp import (
    BrokerAddress,
    BrokerError,
    Channel,
    Delivery,
    PublishingChannel,
    Receive,
    Session,
    keep_connected,
)
from fedproc.common.errors import UnavailableError
from fedproc.common.tasks import run_together
from fedproc.common.tls import client_context
from fedproc.contract.wire import routing
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.centre.identity import Identity
from fedproc.site.centre.signals import Switch
from fedproc.site.settings import SiteSettings

_LONGEST_PAUSE = 30.0
_PREFETCH = 64


class Receiver(Protocol):
    """What is done with what comes; each message is acked, nacked or rejected by the receiver itself."""

    async def job(self, message: Delivery) -> None:
        """A message of the jobs queue."""
        ...

    async def control(self, message: Delivery) -> None:
        """A message of the control queue."""
        ...


class Broker:
    """Keeps the connection; :meth:`run` ends only when it is cancelled.

    While ``accept_jobs`` is off, jobs are left in their queue.
    """

    def __init__(
        self,
        settings: SiteSettings,
        identity: Identity,
        receiver: Receiver,
        egress: ProxyConnector,
        accept_jobs: Switch,
    ) -> None:
        self._settings = settings
        self._egress = egress
        self._identity = identity
        self._receiver = receiver
        self._events: PublishingChannel | None = None
        self._accept_jobs = accept_jobs
        self.connected = asyncio.Event()
        self.error = "not connected yet"

    async def publish(self, kind: routing.EventKind, body: bytes) -> None:
        """Publish an event and return when the broker has confirmed it. Raises :class:`UnavailableError`.

        A heartbeat may get lost: it is not kept across a restart of the broker, nor is it an error if nobody hears it.
        """
        if self._events is None:
            raise UnavailableError(f"broker: {self.error}")
        key, lasts = routing.events_key(self._settings.host, kind), kind != "heartbeat"
        try:
            await self._events.publish(
                routing.EVENTS, key, body, content_type="application/jose", persistent=lasts, mandatory=lasts
            )
        except BrokerError as error:
            raise UnavailableError(f"broker did not take an event: {error.message}") from error

    async def run(self) -> None:
        """Connect, consume and renew, again and again."""
        await keep_connected(self._open, self._use, self._disconnected, _LONGEST_PAUSE)

    def _disconnected(self, reason: str) -> None:
        self.error = reason

    async def _open(self) -> Session:
        centre = self._settings.centre
        context = client_context(centre.ca_file) if centre.broker_tls else None
        name = f"orchestrator {self._settings.host}"
        user = self._identity.client_id
        address = BrokerAddress(centre.broker_host, centre.broker_port, centre.vhost, user, name, context)
        return await Session.open(address, self._token, self._egress.open_connection)

    async def _token(self) -> tuple[str, float]:
        return await self._identity.token(), self._identity.seconds_left()

    async def _use(self, session: Session) -> None:
        self._events = await session.publishing_channel()
        self.connected.set()
        try:
            await run_together(session.watch(), self._consume_control(session), self._consume_jobs(session))
        finally:
            self._events = None
            self.connected.clear()

    async def _consume_control(self, session: Session) -> None:
        await self._subscribe(session, routing.control_queue(self._settings.host), self._receiver.control)

    async def _consume_jobs(self, session: Session) -> None:
        """A channel of its own: closing it gives what was not acked back to the queue."""
        while True:
            await self._accept_jobs.until(True)
            channel = await self._subscribe(session, routing.jobs_queue(self._settings.host), self._receiver.job)
            await self._accept_jobs.until(False)
            await channel.close()

    async def _subscribe(self, session: Session, queue: str, receive: Receive) -> Channel:
        channel = await session.channel(_PREFETCH)
        await channel.consume(queue, receive)
        return channel
