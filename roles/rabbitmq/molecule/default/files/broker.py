"""What the broker lets a token do; runs on the machine, prints one JSON object. Tokens come in files."""

import argparse
import json
import ssl
import time
from pathlib import Path

import pika
from pika.exceptions import AMQPConnectionError, AMQPError, ChannelClosedByBroker, ConnectionClosedByBroker

QUORUM = {"x-queue-type": "quorum"}


class Broker:
    def __init__(self, given):
        self.host, self.port, self.ca = given.host, given.port, given.ca

    def connect(self, token, user="", attempts=1):
        context = ssl.create_default_context(cafile=self.ca)
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                self.host, self.port, ssl_options=pika.SSLOptions(context, self.host), heartbeat=30,
                credentials=pika.PlainCredentials(user, token), connection_attempts=attempts, retry_delay=2,
                socket_timeout=10, blocked_connection_timeout=10,
            )
        )  # fmt: skip

    def signs_in(self, token, user=""):
        try:
            self.connect(token, user).close()
        except (AMQPConnectionError, OSError) as error:
            return f"refused: {type(error).__name__} {error}"
        return "taken"

    def may(self, token, act):
        """What comes of ``act(channel)``: its result, or the broker's refusal."""
        connection = self.connect(token)
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            return act(channel) or "taken"
        except ChannelClosedByBroker as error:
            return f"refused: {error.reply_code}"
        finally:
            if connection.is_open:
                connection.close()


def declare(channel, hosts):
    """As the relay declares, in what matters here."""
    channel.exchange_declare("jobs", "direct", durable=True)
    channel.exchange_declare("events", "topic", durable=True)
    for host in hosts:
        channel.queue_declare(f"jobs.{host}", durable=True, arguments=QUORUM)
        channel.queue_bind(f"jobs.{host}", "jobs", host)
        channel.queue_declare(f"events.{host}", durable=True, arguments=QUORUM)
        channel.queue_bind(f"events.{host}", "events", f"host.{host}.*")


def send(channel, exchange, key, body=b"x"):
    channel.basic_publish(exchange, key, body, pika.BasicProperties(delivery_mode=2), mandatory=True)


def take(channel, queue):
    for _ in range(50):
        method, _properties, body = channel.basic_get(queue)
        if method:
            channel.basic_ack(method.delivery_tag)
            return f"read {body.decode()}"
        time.sleep(0.1)
    return "nothing there"


def rights(broker, tokens):
    relay, host = tokens["relay"], tokens["UB"]
    results = {"declare": broker.may(relay, lambda c: declare(c, ["UB", "BSC"]))}
    results["dispatch"] = broker.may(
        relay, lambda c: [send(c, "jobs", h, f"job of {h}".encode()) for h in ("UB", "BSC")] and None
    )
    results["own queue"] = broker.may(host, lambda c: take(c, "jobs.UB"))
    results["other's queue"] = broker.may(host, lambda c: take(c, "jobs.BSC"))
    results["own key"] = broker.may(host, lambda c: send(c, "events", "host.UB.snapshot"))
    results["other's key"] = broker.may(host, lambda c: send(c, "events", "host.BSC.snapshot"))
    results["jobs"] = broker.may(host, lambda c: send(c, "jobs", "BSC"))
    results["default exchange"] = broker.may(host, lambda c: send(c, "", "jobs.BSC"))
    results["new queue"] = broker.may(host, lambda c: c.queue_declare("mine") and None)
    results["bind"] = broker.may(host, lambda c: c.queue_bind("jobs.UB", "events", "#") and None)
    results["delete"] = broker.may(host, lambda c: c.queue_delete("jobs.BSC") and None)
    results["guest"] = broker.signs_in("guest", "guest")
    for name in set(tokens) - {"relay", "UB"}:
        results[name] = broker.signs_in(tokens[name])
    return results


def hold(broker, token, queue, mark):
    """A consumer that stays until it is closed; ``mark`` says how it went."""
    connection = broker.connect(token)
    channel = connection.channel()
    channel.basic_consume(queue, lambda *_: None)
    Path(mark).write_text("open")
    try:
        channel.start_consuming()
    except (ConnectionClosedByBroker, AMQPError) as error:
        Path(mark).write_text(f"closed: {error}")


def crowd(broker, token):
    """How many connections there may be at once, of twenty."""
    connections = []
    try:
        for _ in range(20):
            connections.append(broker.connect(token))
    except (AMQPConnectionError, OSError) as error:
        return f"{len(connections)}, then refused: {type(error).__name__}"
    finally:
        for connection in connections:
            connection.close()
    return f"{len(connections)}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--tokens", required=True, help="folder of files NAME")
    parser.add_argument("act", choices=["rights", "signs-in", "crowd", "hold", "put", "get"])
    parser.add_argument("arguments", nargs="*")
    given = parser.parse_args()
    broker = Broker(given)
    tokens = {file.name: file.read_text().strip() for file in Path(given.tokens).iterdir()}
    if given.act == "rights":
        results = rights(broker, tokens)
    elif given.act == "signs-in":
        results = {"result": broker.signs_in(tokens[given.arguments[0]])}
    elif given.act == "crowd":
        results = {"result": crowd(broker, tokens[given.arguments[0]])}
    elif given.act == "put":
        connection = broker.connect(tokens["relay"], attempts=10)
        channel = connection.channel()
        channel.confirm_delivery()
        declare(channel, ["UB"])
        send(channel, "jobs", "UB", given.arguments[0].encode())
        results = {"result": "confirmed"}
    elif given.act == "get":
        connection = broker.connect(tokens["UB"], attempts=10)
        results = {"result": take(connection.channel(), "jobs.UB")}
    else:
        results = hold(broker, tokens[given.arguments[0]], *given.arguments[1:])
    print(json.dumps(results))


main()
