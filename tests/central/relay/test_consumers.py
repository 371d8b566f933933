"""What hosts' queues deliver is bounded in memory for each host, and one host's flood takes no other's turn."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.support.amqp import QUORUM, Node

from fedproc.central.relay import consumers
from fedproc.central.relay.consumers import HOST_BYTES, NARROW, WIDE, Consumers, Received, Waiting
from fedproc.common.amqp import Delivery, Session
from fedproc.contract.wire import routing
from fedproc.contract.wire.limits import MIB
from fedproc.demo.broker import BrokerPlan
from fedproc.demo.keys import Keyring


def message(host: str, size: int = 1, kind: str = "record") -> Received:
    return Received(host, Delivery(b"x" * size, f"host.{host}.{kind}", {}, 1, None))  # type: ignore[arg-type]


def hosts(batch: Sequence[Received]) -> str:
    return "".join(one.host for one in batch)


async def test_hosts_have_their_turns_whatever_one_of_them_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "BATCH", 4)
    waiting = Waiting()
    for _ in range(6):
        waiting.put(message("A"))
    for host in "BC":
        waiting.put(message(host))
    assert hosts(await waiting.batch()) == "ABCA"
    waiting.put(message("D"))
    assert hosts(await waiting.batch()) == "ADAA"
    assert hosts(await waiting.batch()) == "A"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await waiting.batch()


async def test_large_messages_of_one_host_come_one_by_one_beside_those_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consumers, "BATCH_BYTES", 1000)
    waiting = Waiting()
    for _ in range(3):
        waiting.put(message("A", 1000))
    for _ in range(5):
        waiting.put(message("B", 10))
    assert hosts(await waiting.batch()) == "A"
    assert hosts(await waiting.batch()) == "BA", "B waits for one of A's alone"
    assert hosts(await waiting.batch()) == "BA"
    assert hosts(await waiting.batch()) == "BBB"


async def test_held_bytes_are_those_that_are_not_taken_in_yet() -> None:
    waiting = Waiting()
    waiting.put(message("A", 10))
    waiting.put(message("A", 5))
    batch = await waiting.batch()
    assert (waiting.held("A"), waiting.held("B")) == (15, 0)
    waiting.done(batch)
    assert waiting.held("A") == 0


async def test_messages_without_a_byte_are_taken_in_like_others() -> None:
    waiting = Waiting()
    for size in (0, 0, 5, 0):
        waiting.put(message("A", size))
    waiting.done(await waiting.batch())
    assert waiting.held("A") == 0


async def test_kind_is_the_last_word_of_the_routing_key() -> None:
    assert message("UB", kind="heartbeat").kind == "heartbeat"


@pytest.fixture
async def session(broker: BrokerPlan, keys: Keyring) -> AsyncIterator[Session]:
    async with await Node(broker, keys).open() as opened:
        yield opened


@pytest.mark.needs_broker
async def test_flood_of_one_host_holds_a_bounded_part_of_memory_and_no_other_host(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "WIDEN_SECONDS", 0.2)
    returned, nack = list[bool](), Delivery.nack
    monkeypatch.setattr(Delivery, "nack", lambda one: (returned.append(loud in consuming._narrow), nack(one)))
    loud, quiet = (f"X{uuid.uuid4().hex[:8]}" for _ in range(2))
    channel = await session.publishing_channel()
    for host in (loud, quiet):
        await channel.declare_queue(routing.events_queue(host), {**QUORUM, "x-single-active-consumer": True})
    size, many = 4 * MIB, 24
    for number in range(many):
        await channel.publish("", routing.events_queue(loud), bytes([number]) * size)
    waiting = Waiting()
    consuming = Consumers(await session.channel(WIDE), await session.channel(NARROW), waiting)
    widening = asyncio.create_task(consuming.keep_widening())
    await consuming.start(loud)
    await consuming.start(quiet)
    async with asyncio.timeout(60):
        while waiting.held(loud) < HOST_BYTES - size or loud not in consuming._narrow:
            await asyncio.sleep(0.05)
    await channel.publish("", routing.events_queue(quiet), b"hello")
    got, behind, most = dict[bytes, int](), None, 0
    async with asyncio.timeout(120):
        while len(got) < many or behind is None:
            batch = await waiting.batch()
            most = max(most, waiting.held(loud))
            await asyncio.sleep(0.05)  # as the database takes its time
            for one in batch:
                if one.host == quiet:
                    behind = len(got)
                else:
                    got[one.delivery.body[:1]] = got.get(one.delivery.body[:1], 0) + 1
                one.delivery.ack()
            waiting.done(batch)
        while consuming._narrow:
            await asyncio.sleep(0.05)
    widening.cancel()
    assert most <= HOST_BYTES + size
    assert behind < many // 2, "the quiet host did not wait for all of the other"
    assert set(got.values()) == {1}
    assert returned, "none came back to its queue"
    assert all(returned), "what goes back before the host is read one by one comes again at once"
    for host in (loud, quiet):
        await channel.call(channel.raw.queue_delete, routing.events_queue(host))
