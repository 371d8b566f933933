"""Sessions and queues at the broker of all tests."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
from tests.support.amqp import QUORUM, Node

from fedproc.common.amqp import Session
from fedproc.demo.broker import BrokerPlan
from fedproc.demo.keys import Keyring


@pytest.fixture(scope="session")
def node(broker: BrokerPlan, keys: Keyring) -> Node:
    return Node(broker, keys)


@pytest.fixture
async def session(node: Node) -> AsyncIterator[Session]:
    async with await node.open() as opened:
        yield opened


@pytest.fixture
async def queue(session: Session) -> AsyncIterator[str]:
    """A quorum queue of the test's own."""
    name, channel = f"test.{uuid.uuid4().hex[:8]}", await session.channel()
    await channel.declare_queue(name, QUORUM)
    yield name
    channel = await session.channel()
    await channel.call(channel.raw.queue_delete, name)
