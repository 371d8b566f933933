"""Signs in at the broker with the token that it is given, and tries what it is asked to: says how each ended."""

import asyncio
import json
import sys
from pathlib import Path

import aio_pika
from aiormq.exceptions import AMQPError

from fedproc.site.centre.identity import tls_context
from fedproc.site.settings import load


async def attempt(connection, act) -> str:
    try:
        channel = await connection.channel(publisher_confirms=True)
        await asyncio.wait_for(act(channel), 20)
    except (TimeoutError, AMQPError, aio_pika.exceptions.DeliveryError) as fault:
        return str(fault) or type(fault).__name__
    return "ok"


def consume(name):
    async def act(channel):
        queue = await channel.get_queue(name, ensure=False)
        await queue.cancel(await queue.consume(lambda message: message.nack()))

    return act


def publish(exchange, key):
    async def act(channel):
        to = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        await to.publish(aio_pika.Message(b"probe"), key, mandatory=False)

    return act


def declare(name):
    async def act(channel):
        await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})

    return act


async def main() -> None:
    given = json.loads(sys.stdin.readline())
    centre = load(Path("/etc/fedproc/host.toml")).centre
    try:
        connection = await aio_pika.connect(
            host=centre.broker_host, port=centre.broker_port, login=given["user"], password=given["token"],
            ssl=True, ssl_context=tls_context(centre.ca_file), timeout=20,
        )  # fmt: skip
    except (TimeoutError, AMQPError, OSError) as fault:
        print(json.dumps({"connected": False, "why": str(fault) or type(fault).__name__}))
        return
    said = {"connected": True}
    for name in given.get("consume", []):
        said[f"consume {name}"] = await attempt(connection, consume(name))
    for exchange, key in given.get("publish", []):
        said[f"publish {exchange} {key}"] = await attempt(connection, publish(exchange, key))
    for name in given.get("declare", []):
        said[f"declare {name}"] = await attempt(connection, declare(name))
    await connection.close()
    print(json.dumps(said))


asyncio.run(main())
