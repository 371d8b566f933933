"""What is consumed, acked, given back and rejected, with a real RabbitMQ."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pika import BasicProperties
from tests.support.amqp import Inbox, Node, error_of

from fedproc.common.amqp import (
    Delivery,
    Session,
)

pytestmark = pytest.mark.needs_broker


async def test_what_becomes_of_a_delivery(session: Session, queue: str) -> None:
    channel = await session.publishing_channel()
    await channel.publish("", queue, b"x")
    answers = [Delivery.nack, Delivery.nack, Delivery.reject]
    inbox = Inbox(lambda delivery: answers.pop(0)(delivery))  # noqa: PLW0108
    await (await session.channel()).consume(queue, inbox.take)
    assert [(await inbox.next()).body for _ in range(3)] == [b"x"] * 3
    assert await channel.waiting(queue) == 0
    assert answers == []


async def test_no_more_is_sent_than_was_asked_for(session: Session, queue: str) -> None:
    publishing = await session.publishing_channel()
    for number in range(5):
        await publishing.publish("", queue, str(number).encode())
    inbox = Inbox(lambda delivery: None)
    await (await session.channel(prefetch=2)).consume(queue, inbox.take)
    held = [await inbox.next() for _ in range(2)]
    await asyncio.sleep(0.3)
    assert inbox.got.empty()
    held[0].ack()
    assert (await inbox.next()).body == b"2"


async def test_a_consumer_ends_with_its_channel_and_what_it_held_comes_again(session: Session, queue: str) -> None:
    publishing, held, again = await session.publishing_channel(), Inbox(lambda delivery: None), Inbox()
    channel = await session.channel(prefetch=5)
    await channel.consume(queue, held.take)
    await publishing.publish("", queue, b"x")
    delivery = await held.next()
    await channel.close()
    delivery.ack()  # is not sent, and ends nothing
    await (await session.channel()).consume(queue, again.take)
    assert (await again.next()).body == b"x"
    assert held.got.empty()


async def test_a_cancelled_consumer_gets_nothing_more(session: Session, queue: str) -> None:
    publishing, first, second = await session.publishing_channel(), Inbox(), Inbox()
    channel = await session.channel(prefetch=5)
    tag = await channel.consume(queue, first.take)
    await publishing.publish("", queue, b"1")
    assert (await first.next()).body == b"1"
    await channel.cancel(tag)
    await publishing.publish("", queue, b"2")
    await channel.consume(queue, second.take)
    assert (await second.next()).body == b"2"
    assert first.got.empty()


async def test_an_error_of_the_receiver_is_logged_and_the_next_message_comes(
    session: Session, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    publishing, inbox = await session.publishing_channel(), Inbox()

    async def receive(delivery: Delivery) -> None:
        if delivery.body == b"bad":
            raise ValueError("not this one")
        await inbox.take(delivery)

    await (await session.channel()).consume(queue, receive)
    for body in (b"bad", b"good"):
        await publishing.publish("", queue, body)
    assert (await inbox.next()).body == b"good"
    assert "not this one" in caplog.text


async def test_a_deleted_queue_ends_the_session_of_its_consumer(session: Session, node: Node, queue: str) -> None:
    async with await node.open() as other:
        await (await other.channel()).consume(queue, Inbox().take)
        watching = asyncio.ensure_future(other.watch())
        channel = await session.channel()
        await channel.call(channel.raw.queue_delete, queue)
        assert "ended a consumer" in (await error_of(watching)).message


async def test_properties_that_cannot_be_decoded_end_nothing(session: Session, queue: str) -> None:
    publishing, inbox = await session.publishing_channel(), Inbox()
    await (await session.channel()).consume(queue, inbox.take)
    endless: Any = BasicProperties(headers={"when": 0})
    pieces = endless.encode()
    at = next(n for n, piece in enumerate(pieces) if piece[:1] == b"I" or piece == b"I")
    pieces[at] = b"T" + b"\x7f" * 8  # a time that no calendar has
    table = next(n for n, piece in enumerate(pieces) if len(piece) == 4 and n < at)
    pieces[table] = sum(len(piece) for piece in pieces[table + 1 :]).to_bytes(4, "big")
    endless.encode = lambda: pieces
    publishing.raw.basic_publish("", queue, b"hostile", endless)
    publishing._last += 1
    await publishing.publish("", queue, b"good")
    assert [(delivery.body, delivery.headers) for delivery in (await inbox.next(), await inbox.next())] == [
        (b"hostile", {}), (b"good", {}),
    ]  # fmt: skip
