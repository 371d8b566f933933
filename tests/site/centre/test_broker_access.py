"""What a host's token may do at the broker, and what it may not: each forbidden act is refused."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.amqp import connect

from fedproc.common.amqp import ClosedByBrokerError
from fedproc.contract.wire import routing

pytestmark = pytest.mark.needs_broker

QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture
async def topology(broker, issuer):
    async with await connect(broker.port, issuer.machine_token("fedproc-relay", "relay"), broker.ca_file) as session:
        channel = await session.publishing_channel()
        await channel.declare_exchange(routing.EVENTS, "topic")
        for host in ("UB", "BSC"):
            for name in (routing.jobs_queue(host), routing.control_queue(host)):
                await channel.declare_queue(name, QUORUM)
        yield channel


@pytest.fixture
async def host(broker, issuer, topology):
    async with await connect(broker.port, issuer.host_token("UB"), broker.ca_file) as session:
        yield session


async def test_a_host_reads_its_own_queues(host, topology):
    await topology.publish("", routing.jobs_queue("UB"), b"hello")
    got = asyncio.get_running_loop().create_future()

    async def receive(delivery):
        delivery.ack()
        got.set_result(delivery.body)

    channel = await host.channel()
    await channel.consume(routing.jobs_queue("UB"), receive)
    assert await asyncio.wait_for(got, 30) == b"hello"


async def test_a_host_publishes_under_its_own_key(host):
    channel = await host.publishing_channel()
    await channel.publish(routing.EVENTS, routing.events_key("UB", "heartbeat"), b"x", mandatory=False)


async def nothing(_):
    """Has no message to take."""


async def another_queue(channel):
    await channel.consume(routing.jobs_queue("BSC"), nothing)


async def another_key(channel):
    await channel.publish(routing.EVENTS, routing.events_key("BSC", "snapshot"), b"x", mandatory=False)


async def the_default_exchange(channel):
    await channel.publish("", routing.jobs_queue("BSC"), b"x")


async def declaring(channel):
    await channel.declare_queue("mine", {})


async def binding(channel):
    await channel.bind(routing.jobs_queue("UB"), routing.EVENTS, "host.#")


async def deleting(channel):
    await channel.call(channel.raw.queue_delete, routing.jobs_queue("UB"))


async def purging_another(channel):
    await channel.call(channel.raw.queue_purge, routing.jobs_queue("BSC"))


@pytest.mark.parametrize(
    "act", [another_queue, another_key, the_default_exchange, declaring, binding, deleting, purging_another]
)
async def test_everything_else_is_refused(host, act):
    channel = await host.publishing_channel()
    with pytest.raises(ClosedByBrokerError, match="ACCESS_REFUSED") as refused:
        await act(channel)
    assert refused.value.reply_code == 403


@pytest.mark.parametrize(("user", "password"), [("guest", "guest"), ("host-UB", "not.a.token")])
async def test_there_is_no_second_way_in(broker, user, password):
    with pytest.raises(ClosedByBrokerError, match="Login was refused"):
        await connect(broker.port, password, broker.ca_file, user)


async def test_a_users_token_is_not_for_the_broker(broker, issuer):
    with pytest.raises(ClosedByBrokerError):
        await connect(broker.port, issuer.user_token("alice"), broker.ca_file)
