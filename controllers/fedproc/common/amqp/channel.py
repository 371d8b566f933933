"""A channel: what is declared, consumed and published on it, each awaited."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from pika import BasicProperties, exceptions, spec
from pika.channel import Channel as PikaChannel

from fedproc.common.amqp.errors import BrokerError, NotTakenError, ReturnedError, broker_error
from fedproc.common.tasks import settle, watched

_CONFIRM_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that came. What is said of it after its channel was closed is not sent: the broker delivers it anew."""

    body: bytes
    routing_key: str
    headers: dict[str, Any]
    _tag: int
    _channel: PikaChannel

    def ack(self) -> None:
        """It is done with."""
        if self._channel.is_open:
            self._channel.basic_ack(self._tag)

    def nack(self) -> None:
        """It goes back to its queue."""
        if self._channel.is_open:
            self._channel.basic_nack(self._tag, requeue=True)

    def reject(self) -> None:
        """It goes to the dead letters."""
        if self._channel.is_open:
            self._channel.basic_reject(self._tag, requeue=False)


Receive = Callable[[Delivery], Coroutine[Any, Any, None]]


class Channel:
    """Made by :meth:`fedproc.common.amqp.session.Session.channel`. Its methods raise :class:`BrokerError`."""

    def __init__(self, lost: Callable[[BrokerError], None]) -> None:
        self.raw: Any = None
        """pika's own, for :meth:`call`"""
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[Any]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = self._loop.create_future()
        self._reason: Exception | None = None

    async def open(self, make: Callable[..., PikaChannel], prefetch: int | None = None) -> None:
        """Open it by ``make``; the broker then sends at most ``prefetch`` messages that are not acked."""
        opened = self._wait()
        self.raw = make(on_open_callback=lambda _: settle(opened, None))
        self.raw.add_on_close_callback(self._on_closed)
        self.raw.add_on_cancel_callback(self._on_cancelled)
        await opened
        if prefetch is not None:
            await self.call(self.raw.basic_qos, prefetch_count=prefetch)

    async def close(self) -> None:
        """What was delivered and not acked goes back to its queue."""
        if self.raw.is_open:
            self.raw.close()
        await asyncio.shield(self._closed)

    async def declare_exchange(self, name: str, kind: str) -> None:
        """A durable one."""
        await self.call(self.raw.exchange_declare, name, kind, durable=True)

    async def declare_queue(self, name: str, arguments: dict[str, Any]) -> None:
        """A durable one."""
        await self.call(self.raw.queue_declare, name, durable=True, arguments=arguments)

    async def bind(self, queue: str, exchange: str, routing_key: str = "") -> None:
        await self.call(self.raw.queue_bind, queue, exchange, routing_key)

    async def waiting(self, queue: str) -> int:
        """How many messages wait in a queue."""
        answer = await self.call(self.raw.queue_declare, queue, passive=True)
        return int(answer.method.message_count)

    async def consume(self, queue: str, receive: Receive) -> str:
        """Have ``receive`` run, in a task of its own, for each message; it acks, nacks or rejects the message.

        The consumer's tag, for :meth:`cancel`.
        """

        def on_message(raw: PikaChannel, method: Any, properties: BasicProperties, body: bytes) -> None:
            delivery = Delivery(body, str(method.routing_key), properties.headers or {}, method.delivery_tag, raw)
            task = self._loop.create_task(receive(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            watched(task, "message.failed")

        answer = await self.call(self.raw.basic_consume, queue, on_message)
        return str(answer.method.consumer_tag)

    async def cancel(self, tag: str) -> None:
        """End a consumer. What was delivered to it and not acked stays delivered."""
        await self.call(self.raw.basic_cancel, tag)

    async def call(self, method: Callable[..., object], *arguments: Any, **named: Any) -> Any:
        """The broker's answer to a method of pika's channel."""
        answered = self._wait()
        try:
            method(*arguments, callback=lambda answer: settle(answered, answer), **named)
        except exceptions.AMQPError as error:
            raise self._error(error) from None
        return await answered

    def _wait(self) -> asyncio.Future[Any]:
        """For an answer, or the channel's end."""
        future = self._loop.create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    def _error(self, error: Exception) -> BrokerError:
        """Of what cannot be done: why the channel is closed, if it is, says more than that it is."""
        return broker_error(self._reason or error)

    def _on_closed(self, _: PikaChannel, reason: Exception) -> None:
        self._reason = reason
        self._fail(self._waiting)
        settle(self._closed, None)
        if isinstance(reason, exceptions.ChannelClosedByBroker):
            self._lost(broker_error(reason))

    def _fail(self, waiting: Iterable[asyncio.Future[Any]]) -> None:
        for future in list(waiting):
            if not future.done():
                future.set_exception(self._error(exceptions.ChannelWrongStateError()))

    def _on_cancelled(self, _: object) -> None:
        self._lost(BrokerError("the broker ended a consumer: its queue was deleted, or is away"))


class PublishingChannel(Channel):
    """Has each message confirmed."""

    def __init__(self, lost: Callable[[BrokerError], None], blocked: Callable[[], str | None]) -> None:
        super().__init__(lost)
        self._blocked = blocked
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}
        self._last = 0

    async def open(self, make: Callable[..., PikaChannel], prefetch: int | None = None) -> None:
        await super().open(make, prefetch)
        self.raw.add_on_return_callback(self._on_returned)
        await self.call(self.raw.confirm_delivery, self._on_confirmed)

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        *,
        content_type: str | None = None,
        persistent: bool = True,
        mandatory: bool = True,
    ) -> None:
        """Return when the broker has taken the message. Raises :class:`ReturnedError` if it is ``mandatory`` that a
        queue gets it, and there is none, and :class:`NotTakenError` if its queue is full.
        """
        self._last += 1
        properties = BasicProperties(content_type, delivery_mode=2 if persistent else 1, message_id=str(self._last))
        confirmed = self._unconfirmed[self._last] = self._loop.create_future()
        try:
            self.raw.basic_publish(exchange, routing_key, body, properties, mandatory)
            async with asyncio.timeout(_CONFIRM_SECONDS):
                await confirmed
        except exceptions.AMQPError as error:
            raise self._error(error) from None
        except TimeoutError:
            raise BrokerError(f"the broker does not confirm: {self._blocked() or 'no answer'}") from None

    def _on_confirmed(self, answer: Any) -> None:
        taken = isinstance(answer.method, spec.Basic.Ack)
        for future in self._answered(answer.method.delivery_tag, answer.method.multiple):
            if future.done():
                continue
            if taken:
                future.set_result(None)
            else:
                future.set_exception(NotTakenError("the broker did not take a message: its queue is full, or away"))

    def _answered(self, tag: int, multiple: bool) -> list[asyncio.Future[None]]:
        tags = itertools.takewhile(lambda one: one <= tag, self._unconfirmed) if multiple else [tag]
        return [self._unconfirmed.pop(one) for one in list(tags) if one in self._unconfirmed]

    def _on_returned(self, _: PikaChannel, method: Any, properties: BasicProperties, __: bytes) -> None:
        """The confirm that follows says that the broker is done with the message, not that anybody has it."""
        future = self._unconfirmed[int(properties.message_id)]
        if not future.done():
            future.set_exception(ReturnedError(method.exchange, method.routing_key, method.reply_text))

    def _on_closed(self, raw: PikaChannel, reason: Exception) -> None:
        super()._on_closed(raw, reason)
        self._fail(self._unconfirmed.values())
        self._unconfirmed.clear()
