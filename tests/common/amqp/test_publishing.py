"""Each publish is told what became of its message, by a real RabbitMQ."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import time
import uuid
from typing import Any

import pytest
from tests.support.amqp import QUORUM, Inbox, Node, error_of

from fedproc.common.amqp import (
    ClosedByBrokerError,
    NotTakenError,
    PublishingChannel,
    ReturnedError,
    Session,
)
from fedproc.contract.wire import limits
from fedproc.contract.wire.limits import MESSAGE_BYTES
from fedproc.contract.wire.routing import POLICIES

pytestmark = pytest.mark.needs_broker


async def test_a_publish_returns_when_the_broker_has_the_message(session: Session, queue: str) -> None:
    channel = await session.publishing_channel()
    await channel.publish("", queue, b"one", content_type="application/jose")
    assert await channel.waiting(queue) == 1
    inbox = Inbox()
    await (await session.channel()).consume(queue, inbox.take)
    delivery = await inbox.next()
    assert (delivery.body, delivery.routing_key) == (b"one", queue)


async def test_the_largest_message_that_may_be_sent_passes(session: Session, queue: str) -> None:
    largest = os.urandom(1024) * (MESSAGE_BYTES // 1024)
    await (await session.publishing_channel()).publish("", queue, largest)
    inbox = Inbox()
    await (await session.channel()).consume(queue, inbox.take)
    assert (await inbox.next()).body == largest


async def test_a_message_that_no_queue_takes_is_told_to_who_published_it(session: Session, queue: str) -> None:
    channel = await session.publishing_channel()
    to = [queue, "test.nowhere", queue, "test.nobody", queue]
    results = await asyncio.gather(*(channel.publish("", key, b"x") for key in to), return_exceptions=True)
    assert [getattr(result, "routing_key", None) for result in results] == [
        None, "test.nowhere", None, "test.nobody", None,
    ]  # fmt: skip
    assert isinstance(results[1], ReturnedError)
    assert "no queue for 'test.nowhere'" in results[1].message
    assert "NO_ROUTE" in results[1].message
    await channel.publish("", "test.nowhere", b"x", mandatory=False)
    assert await channel.waiting(queue) == 3
    assert channel._unconfirmed == {}


async def test_a_message_that_a_full_queue_refuses_is_told(session: Session) -> None:
    channel, name = await session.publishing_channel(), f"test.{uuid.uuid4().hex[:8]}"
    await channel.declare_queue(name, {**QUORUM, "x-max-length": 1, "x-overflow": "reject-publish"})
    refused: list[Any] = []
    async with asyncio.timeout(60):
        while not refused:  # a quorum queue notices a moment later that it is full
            results = await asyncio.gather(*(channel.publish("", name, b"x") for _ in range(9)), return_exceptions=True)
            refused = [result for result in results if result is not None]
    assert all(isinstance(result, NotTakenError) for result in refused)
    assert all("did not take a message" in result.message for result in refused)
    await channel.call(channel.raw.queue_delete, name)


async def test_a_hosts_queue_is_bounded_in_bytes_by_the_brokers_policies(session: Session, node: Node) -> None:
    """As the demo's broker, and that of the role, have them; nothing else declares it."""
    told = json.loads(await node.control("list_policies", "--formatter", "json"))
    policies = {one["name"]: (one["pattern"], json.loads(one["definition"])) for one in told}
    assert policies == POLICIES
    name, channel = f"events.test-{uuid.uuid4().hex[:8]}", await session.publishing_channel()
    await channel.declare_queue(name, {**QUORUM, "x-max-length": 100_000, "x-overflow": "reject-publish"})
    body, taken, refused = b"x" * limits.MESSAGE_BYTES, 0, False
    async with asyncio.timeout(120):
        while not refused:
            try:
                await channel.publish("", name, body)
                taken += 1
            except NotTakenError:
                refused = True
    await channel.call(channel.raw.queue_delete, name)
    most = limits.EVENTS_QUEUE_BYTES // limits.MESSAGE_BYTES
    assert most <= taken <= most + 2


async def test_what_is_published_when_the_channel_ends_fails(session: Session, queue: str) -> None:
    channel = await session.publishing_channel()
    going = [asyncio.ensure_future(channel.publish("no.such.exchange", queue, b"x")) for _ in range(3)]
    errors = [await error_of(one) for one in going]
    assert all(isinstance(error, ClosedByBrokerError) and error.reply_code == 404 for error in errors)
    assert "no exchange 'no.such.exchange'" in errors[0].message
    later = await error_of(channel.publish("", queue, b"x"))
    assert "no exchange 'no.such.exchange'" in later.message


async def test_a_blocked_broker_is_named_when_it_does_not_confirm(
    node: Node, session: Session, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedproc.common.amqp.channel._CONFIRM_SECONDS", 3.0)
    channel = await session.publishing_channel()
    await channel.publish("", queue, b"before")
    await node.control("set_vm_memory_high_watermark", "0.000001")
    try:
        error = await error_of(channel.publish("", queue, b"meanwhile"))
        assert "does not confirm: it takes no messages for now (low on memory)" in error.message
    finally:
        await node.control("set_vm_memory_high_watermark", "0.4")
    await channel.publish("", queue, b"after")


async def flat(channel: PublishingChannel, queue: str, count: int, at_once: int, body: bytes) -> float:
    """Processor seconds of this program for so many messages, so many of them under way."""
    places = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with places:
            await channel.publish("", queue, body)

    begun = time.process_time()
    await asyncio.gather(*(one() for _ in range(count)))
    return time.process_time() - begun


async def test_five_thousand_messages_cost_as_much_at_the_end_as_at_the_beginning(session: Session, queue: str) -> None:
    channel, body = await session.publishing_channel(), os.urandom(1500)
    await flat(channel, queue, 500, 200, body)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    costs = [await flat(channel, queue, 1000, 200, body) for _ in range(5)]
    assert min(costs[3:]) < 2 * min(costs[:2]), costs
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 32 << 10
    assert (channel._unconfirmed, channel._waiting) == ({}, set())
    inbox = Inbox()
    await (await session.channel(prefetch=200)).consume(queue, inbox.take)
    for _ in range(5500):
        assert (await inbox.next()).body == body
    assert await channel.waiting(queue) == 0


async def test_large_messages_come_whole(session: Session, queue: str) -> None:
    channel, inbox = await session.publishing_channel(), Inbox()
    await (await session.channel()).consume(queue, inbox.take)
    for size in (0, 1, 131_064, 131_065, 5_000_000):
        body = os.urandom(size)
        await channel.publish("", queue, body)
        assert (await inbox.next()).body == body
