"""A RabbitMQ for the tests of the session."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.amqp import QUORUM, Node
from tests.support.broker import running_broker

from fedproc.common.amqp import Session
from fedproc.demo.keys import Keyring


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    keys = Keyring(tmp_path_factory.mktemp("keys"))
    with running_broker(tmp_path_factory.mktemp("broker"), keys) as plan:
        yield Node(plan, keys)


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
