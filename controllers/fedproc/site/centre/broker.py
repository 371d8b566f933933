"""The host's one connection to the broker: it consumes its own two queues and publishes its own events.

The connection is outgoing, by TLS, with the host's token as password; the token is renewed on the open
connection before it expires, and a lost connection is made again with growing pauses.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.connection import make_url
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPError, InvalidFrameError

from fedproc.common.errors import UnavailableError
from fedproc.common.log import get_logger
from fedproc.contract.wire import routing
from fedproc.site.centre.egress import ProxyConnector, Stream
from fedproc.site.centre.identity import Identity, tls_context
from fedproc.site.settings import SiteSettings

if TYPE_CHECKING:
    from yarl import URL

log = get_logger(__name__)

Incoming = Callable[[AbstractIncomingMessage], Awaitable[None]]
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
_WORKED_SECONDS = 5.0
_PREFETCH = 64
_DOWN = (AMQPError, OSError, UnavailableError, TimeoutError)


class Receiver(Protocol):
    """What is done with what comes; each message is acked, rejected or left by the receiver itself."""

    async def job(self, message: AbstractIncomingMessage) -> None:
        """A message of the jobs queue."""
        ...

    async def control(self, message: AbstractIncomingMessage) -> None:
        """A message of the control queue."""
        ...


class Broker:
    """Keeps the connection; :meth:`run` ends only when it is cancelled."""

    def __init__(self, settings: SiteSettings, identity: Identity, receiver: Receiver, egress: ProxyConnector) -> None:
        self._settings = settings
        self._egress = egress
        self._identity = identity
        self._receiver = receiver
        self._exchange: AbstractExchange | None = None
        self._accepting = asyncio.Event()
        self._accepting.set()
        self._changed = asyncio.Event()
        self.connected = asyncio.Event()
        self._since: float | None = None
        self.fault = "not connected yet"

    def accept_jobs(self, accept: bool) -> None:
        """Consume the jobs queue, or cancel the consumer and leave jobs where they are."""
        (self._accepting.set if accept else self._accepting.clear)()
        self._changed.set()

    async def publish(self, kind: routing.EventKind, body: bytes) -> None:
        """Publish an event and return when the broker has confirmed it. Raises :class:`UnavailableError`."""
        exchange = self._exchange
        if exchange is None:
            raise UnavailableError(f"broker: {self.fault}")
        message = aio_pika.Message(
            body,
            content_type="application/jose",
            delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT
            if kind == "heartbeat"
            else aio_pika.DeliveryMode.PERSISTENT,
        )
        try:
            await exchange.publish(message, routing.events_key(self._settings.host, kind), timeout=30)
        except (*_DOWN, aio_pika.exceptions.DeliveryError) as fault:
            raise UnavailableError(f"broker did not take an event: {fault or type(fault).__name__}") from fault

    async def run(self) -> None:
        """Connect, consume and renew, again and again."""
        pause = _FIRST_PAUSE
        while True:
            self._since = None
            try:
                await self._session()
            except InvalidFrameError:  # it answered the opening by a close, whose reason the library does not tell
                self.fault = (
                    "the broker took the token and then refused the connection: ask the federation's operator why"
                )
                log.warning("broker.disconnected", reason=self.fault, pause_seconds=round(pause, 1))
            except _DOWN as fault:
                pause = _FIRST_PAUSE if self._worked() else pause
                self.fault = str(fault) or type(fault).__name__
                log.warning("broker.disconnected", reason=self.fault, pause_seconds=round(pause, 1))
            finally:
                self._exchange = None
                self.connected.clear()
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _worked(self) -> bool:
        """Whether the session that has just ended was more than a beginning."""
        return self._since is not None and time.monotonic() - self._since >= _WORKED_SECONDS

    async def _connect(self) -> AbstractConnection:
        centre = self._settings.centre
        url = make_url(
            host=centre.broker_host,
            port=centre.broker_port,
            login=self._identity.client_id,
            password=await self._identity.token(),
            virtualhost=centre.vhost,
            ssl=centre.broker_tls,
        )
        context = tls_context(centre.ca_file) if centre.broker_tls else None
        name = f"orchestrator {self._settings.host}"
        connection = aio_pika.Connection(url, client_properties={"connection_name": name})
        connection.kwargs["transport_factory"] = _Transport(self._egress, context)
        await connection.connect(timeout=20)
        return connection

    async def _session(self) -> None:
        async with await self._connect() as connection:
            closed: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
            connection.close_callbacks.add(lambda _sender, fault: _note_closed(closed, fault))
            events = await connection.channel(publisher_confirms=True)
            self._exchange = await events.get_exchange(routing.EVENTS, ensure=False)
            self.connected.set()
            self._since = time.monotonic()
            await self._consume(connection, closed)

    async def _consume(self, connection: AbstractConnection, closed: asyncio.Future[BaseException | None]) -> None:
        tasks = [
            asyncio.create_task(self._consume_control(connection)),
            asyncio.create_task(self._consume_jobs(connection)),
            asyncio.create_task(self._renew(connection)),
        ]
        try:
            everything: list[asyncio.Future[Any]] = [closed, *tasks]
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            faults = [task.exception() for task in tasks if task.done()]
            fault = next(filter(None, faults), None) or (closed.result() if closed.done() else None)
            raise fault if isinstance(fault, _DOWN) else UnavailableError(f"connection closed: {fault}")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _consume_control(self, connection: AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=False)
        await self._subscribe(channel, routing.control_queue(self._settings.host), self._receiver.control)
        await asyncio.get_running_loop().create_future()

    async def _consume_jobs(self, connection: AbstractConnection) -> None:
        """A channel of its own: closing it gives what was not acked back to the queue."""
        while True:
            await self._accepting.wait()
            self._changed.clear()
            channel = await connection.channel(publisher_confirms=False)
            await self._subscribe(channel, routing.jobs_queue(self._settings.host), self._receiver.job)
            while self._accepting.is_set():
                await self._changed.wait()
                self._changed.clear()
            await channel.close()

    async def _subscribe(self, channel: AbstractChannel, name: str, receive: Incoming) -> None:
        await channel.set_qos(prefetch_count=_PREFETCH)
        queue = await channel.get_queue(name, ensure=False)
        await queue.consume(receive)

    async def _renew(self, connection: AbstractConnection) -> None:
        while True:
            await asyncio.sleep(self._identity.seconds_left())
            await connection.update_secret(await self._identity.token(), reason="token renewed")
            log.info("broker.token_renewed")


class _Transport(TransportFactory):
    """Has AMQP connect through the site's proxy."""

    def __init__(self, egress: ProxyConnector, context: ssl.SSLContext | None) -> None:
        self._egress = egress
        self._context = context

    async def create(self, url: URL, **_: Any) -> Stream:
        return await self._egress.open_connection(str(url.host), int(url.port or 0), self._context)


def _note_closed(closed: asyncio.Future[BaseException | None], fault: BaseException | None) -> None:
    if not closed.done():
        closed.set_result(fault)
