"""What a host's token may do at the broker, and what it may not: each forbidden act is refused."""

from __future__ import annotations

import ssl

import aio_pika
import pytest
from aiormq.exceptions import AMQPError, ChannelAccessRefused

from fedproc.contract.wire import routing
from fedproc.demo.broker import BrokerPlan


def connect(plan: BrokerPlan, token: str, user: str = "x"):
    context = ssl.create_default_context(cafile=str(plan.ca_file))
    return aio_pika.connect(host="localhost", port=plan.port, login=user, password=token, ssl=True, ssl_context=context)


@pytest.fixture
async def topology(broker, issuer):
    connection = await connect(broker, issuer.machine_token("fedproc-relay", "relay"))
    async with connection:
        channel = await connection.channel()
        await channel.declare_exchange(routing.EVENTS, aio_pika.ExchangeType.TOPIC, durable=True)
        for host in ("UB", "BSC"):
            for name in (routing.jobs_queue(host), routing.control_queue(host)):
                await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
        yield channel


@pytest.fixture
async def host(broker, issuer, topology):
    connection = await connect(broker, issuer.host_token("UB"))
    async with connection:
        yield connection


async def test_a_host_reads_its_own_queues(host, topology):
    await topology.default_exchange.publish(aio_pika.Message(b"hello"), routing.jobs_queue("UB"))
    channel = await host.channel()
    queue = await channel.get_queue(routing.jobs_queue("UB"), ensure=False)
    message = await queue.get(timeout=5)
    assert message.body == b"hello"
    await message.ack()


async def test_a_host_publishes_under_its_own_key(host):
    channel = await host.channel()
    exchange = await channel.get_exchange(routing.EVENTS, ensure=False)
    await exchange.publish(aio_pika.Message(b"x"), routing.events_key("UB", "heartbeat"), mandatory=False)


async def another_queue(channel):
    queue = await channel.get_queue(routing.jobs_queue("BSC"), ensure=False)
    await queue.get(timeout=5, fail=False)


async def another_key(channel):
    exchange = await channel.get_exchange(routing.EVENTS, ensure=False)
    await exchange.publish(aio_pika.Message(b"x"), routing.events_key("BSC", "snapshot"), mandatory=False)


async def the_default_exchange(channel):
    await channel.default_exchange.publish(aio_pika.Message(b"x"), routing.jobs_queue("BSC"))


async def declaring(channel):
    await channel.declare_queue("mine", durable=True)


async def binding(channel):
    queue = await channel.get_queue(routing.jobs_queue("UB"), ensure=False)
    await queue.bind(routing.EVENTS, "host.#")


async def deleting(channel):
    queue = await channel.get_queue(routing.jobs_queue("UB"), ensure=False)
    await queue.delete(if_unused=False, if_empty=False)


async def purging_another(channel):
    queue = await channel.get_queue(routing.jobs_queue("BSC"), ensure=False)
    await queue.purge()


@pytest.mark.parametrize(
    "act", [another_queue, another_key, the_default_exchange, declaring, binding, deleting, purging_another]
)
async def test_everything_else_is_refused(host, act):
    channel = await host.channel()
    with pytest.raises(ChannelAccessRefused):
        await act(channel)


@pytest.mark.parametrize(("user", "password"), [("guest", "guest"), ("host-UB", "not.a.token")])
async def test_there_is_no_second_way_in(broker, user, password):
    with pytest.raises(AMQPError):
        await connect(broker, password, user)


async def test_a_users_token_is_not_for_the_broker(broker, issuer):
    with pytest.raises(AMQPError):
        await connect(broker, issuer.user_token("alice"))
