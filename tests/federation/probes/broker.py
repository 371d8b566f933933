"""Signs in at the broker with the token that it is given, and tries what it is asked to: says how each ended."""

import asyncio
import json
import sys
from pathlib import Path

from fedproc.common.amqp import BrokerAddress, Delivery, Session
from fedproc.common.errors import UnavailableError
from fedproc.common.tls import client_context
from fedproc.site.settings import load


async def attempt(session, act) -> str:
    try:
        channel = await session.publishing_channel()
        await asyncio.wait_for(act(channel), 20)
        await channel.close()
    except (TimeoutError, UnavailableError) as error:
        return str(error) or type(error).__name__
    return "ok"


async def give_back(delivery: Delivery) -> None:
    delivery.nack()


def consume(name):
    return lambda channel: channel.consume(name, give_back)


def publish(exchange, key):
    return lambda channel: channel.publish(exchange, key, b"probe", mandatory=False)


def declare(name):
    return lambda channel: channel.declare_queue(name, {"x-queue-type": "quorum"})


async def main() -> None:
    given = json.loads(sys.stdin.readline())
    centre = load(Path("/etc/fedproc/host.toml")).centre

    async def token() -> tuple[str, float]:
        return given["token"], 300.0

    context = client_context(centre.ca_file)
    address = BrokerAddress(centre.broker_host, centre.broker_port, "/", given["user"], "probe", context)
    try:
        session = await Session.open(address, token)
    except UnavailableError as error:
        print(json.dumps({"connected": False, "why": error.message}))
        return
    said = {"connected": True}
    for name in given.get("consume", []):
        said[f"consume {name}"] = await attempt(session, consume(name))
    for exchange, key in given.get("publish", []):
        said[f"publish {exchange} {key}"] = await attempt(session, publish(exchange, key))
    for name in given.get("declare", []):
        said[f"declare {name}"] = await attempt(session, declare(name))
    await session.close()
    print(json.dumps(said))


asyncio.run(main())
