"""The session with the broker, against a real RabbitMQ: what it confirms, refuses, returns and cuts is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import ssl
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from pika import BasicProperties
from tests.proxying import ConnectProxy

from fedproc.common.amqp import (
    BrokerAddress,
    BrokerError,
    ClosedByBrokerError,
    Delivery,
    PublishingChannel,
    ReturnedError,
    Session,
    keep_connected,
)
from fedproc.common.amqp import session as session_module
from fedproc.common.errors import UnavailableError
from fedproc.common.tasks import run_together
from fedproc.contract.wire import routing
from fedproc.demo.broker import SCOPE_CLAIM, BrokerPlan
from fedproc.demo.keys import Keyring
from fedproc.demo.polling import free_ports
from fedproc.site.centre.egress import ProxyConnector

QUORUM = {"x-queue-type": "quorum"}


class Broker:
    """The node, and tokens for it that live as long as a test wants."""

    def __init__(self, plan: BrokerPlan, keys: Keyring) -> None:
        self._plan = plan
        self._key = RSAKey.import_key(keys.key("issuer", rsa_bits=2048).private.read_bytes())
        context = ssl.create_default_context(cafile=str(plan.ca_file))
        self.address = BrokerAddress("localhost", plan.port, "/", "x", f"test {uuid.uuid4().hex[:6]}", context)

    def token(self, seconds: float = 300, scopes: str = routing.relay_scopes()) -> str:
        claims = {"sub": "x", "aud": ["rabbitmq"], "exp": int(time.time() + seconds), SCOPE_CLAIM: scopes}
        return jwt.encode({"alg": "RS256", "kid": "issuer"}, claims, self._key)

    async def source(self) -> tuple[str, float]:
        return self.token(), 300.0

    async def open(self, scopes: str | None = None, **changes: Any) -> Session:
        async def source() -> tuple[str, float]:
            return self.token(scopes=scopes or routing.relay_scopes()), 300.0

        return await Session.open(replace(self.address, **changes), source)

    async def control(self, *command: str) -> str:
        """``rabbitmqctl``."""
        environment = {**self._plan.environment(), "RABBITMQ_CTL_ERL_ARGS": ""}
        run = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", *command]
        done = await asyncio.to_thread(subprocess.run, run, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def node(broker: BrokerPlan, keys: Keyring) -> Broker:
    return Broker(broker, keys)


@pytest.fixture
async def session(node: Broker) -> AsyncIterator[Session]:
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


class Inbox:
    """Takes what comes, and does with it what the test says."""

    def __init__(self, answer: Callable[[Delivery], None] = Delivery.ack) -> None:
        self.got: asyncio.Queue[Delivery] = asyncio.Queue()
        self._answer = answer

    async def take(self, delivery: Delivery) -> None:
        self.got.put_nowait(delivery)
        self._answer(delivery)

    async def next(self) -> Delivery:
        return await asyncio.wait_for(self.got.get(), 10)

    async def until(self, body: bytes) -> None:
        while (await self.next()).body != body:
            """It came again: its ack was lost with a connection."""


async def error_of(work: Awaitable[object]) -> Any:
    with pytest.raises(UnavailableError) as raised:
        await asyncio.wait_for(asyncio.ensure_future(work), 30)
    return raised.value


# -- publishing


async def test_a_publish_returns_when_the_broker_has_the_message(session: Session, queue: str) -> None:
    channel = await session.publishing_channel()
    await channel.publish("", queue, b"one", content_type="application/jose")
    assert await channel.waiting(queue) == 1
    inbox = Inbox()
    await (await session.channel()).consume(queue, inbox.take)
    delivery = await inbox.next()
    assert (delivery.body, delivery.routing_key) == (b"one", queue)


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
    async with asyncio.timeout(10):
        while not refused:  # a quorum queue notices a moment later that it is full
            results = await asyncio.gather(*(channel.publish("", name, b"x") for _ in range(9)), return_exceptions=True)
            refused = [result for result in results if result is not None]
    assert all(isinstance(result, BrokerError) and "did not take a message" in result.message for result in refused)
    await channel.call(channel.raw.queue_delete, name)


async def test_what_is_published_when_the_channel_ends_fails(session: Session, queue: str) -> None:
    channel = await session.publishing_channel()
    going = [asyncio.ensure_future(channel.publish("no.such.exchange", queue, b"x")) for _ in range(3)]
    errors = [await error_of(one) for one in going]
    assert all(isinstance(error, ClosedByBrokerError) and error.reply_code == 404 for error in errors)
    assert "no exchange 'no.such.exchange'" in errors[0].message
    later = await error_of(channel.publish("", queue, b"x"))
    assert "no exchange 'no.such.exchange'" in later.message


async def test_a_blocked_broker_is_named_when_it_does_not_confirm(
    node: Broker, session: Session, queue: str, monkeypatch: pytest.MonkeyPatch
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


# -- consuming


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


async def test_a_deleted_queue_ends_the_session_of_its_consumer(session: Session, node: Broker, queue: str) -> None:
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


# -- what the broker refuses


async def test_a_refused_channel_says_why_and_leaves_the_connection(node: Broker, queue: str) -> None:
    async with await node.open(scopes=routing.host_scopes("UB")) as host:
        channel = await host.channel()
        error = await error_of(channel.consume(queue, Inbox().take))
        assert isinstance(error, ClosedByBrokerError)
        assert error.reply_code == 403
        assert "ACCESS_REFUSED" in error.message
        assert queue in error.message
        watched = await error_of(host.watch())
        assert "ACCESS_REFUSED" in watched.message
        publishing = await host.publishing_channel()
        error = await error_of(publishing.publish("", queue, b"x"))
        assert "ACCESS_REFUSED" in error.message


@pytest.mark.parametrize("token", ["not.a.token", "expired"])
async def test_a_refused_token_says_so(node: Broker, token: str) -> None:
    async def source() -> tuple[str, float]:
        return node.token(-60) if token == "expired" else token, 300

    error = await error_of(Session.open(node.address, source))
    assert isinstance(error, ClosedByBrokerError)
    assert error.reply_code == 403
    assert "Login was refused" in error.message


async def test_a_refused_virtual_host_says_so(node: Broker) -> None:
    error = await error_of(node.open(vhost="elsewhere"))
    assert isinstance(error, ClosedByBrokerError)
    assert error.reply_code == 530
    assert "vhost elsewhere" in error.message


async def test_another_authority_is_not_trusted(node: Broker, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(Keyring(tmp_path).ca_file))
    error = await error_of(node.open(tls=context))
    assert f"localhost:{node.address.port}" in error.message
    assert "a certificate that is not trusted" in error.message


async def test_a_broker_that_is_not_there(node: Broker) -> None:
    error = await error_of(node.open(port=free_ports(1)[0]))
    assert "cannot be reached" in error.message


async def test_something_else_than_a_broker(node: Broker) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    error = await error_of(node.open(port=server.sockets[0].getsockname()[1], tls=None))
    assert "the connection to the broker" in error.message
    server.close()


async def test_a_broker_that_says_nothing(node: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_OPEN_SECONDS", 0.3)
    server = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
    error = await error_of(node.open(port=server.sockets[0].getsockname()[1], tls=None))
    assert "does not answer within" in error.message
    server.close()


# -- the way to it


async def test_the_broker_is_reached_through_a_proxy(node: Broker, queue: str) -> None:
    (nobody,) = free_ports(1)
    with ConnectProxy({f"localhost:{nobody}": node.address.port}).running() as proxy:
        opener = ProxyConnector(proxy.url).open_connection
        async with await Session.open(replace(node.address, port=nobody), node.source, opener) as session:
            await (await session.publishing_channel()).publish("", queue, b"x")
        assert proxy.asked == [f"localhost:{nobody}"]
    refuses = ConnectProxy(forbids=True)
    with refuses.running():
        opener = ProxyConnector(refuses.url).open_connection
        error = await error_of(Session.open(node.address, node.source, opener))
        assert "403" in error.message
        assert f"127.0.0.1:{refuses.port}" in error.message


class Wire:
    """Copies bytes between a port and the broker, until it is cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, out]
        with contextlib.suppress(OSError):
            await asyncio.gather(_copy(reader, out), _copy(there, writer))

    def cut(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)


@asynccontextmanager
async def kept(node: Broker, use: Callable[[Session], Awaitable[None]], **changes: Any) -> AsyncIterator[list[str]]:
    """A session that is kept; what was wrong with it, so far."""
    reasons: list[str] = []
    running = asyncio.create_task(keep_connected(lambda: node.open(**changes), use, reasons.append, 1.0))
    yield reasons
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_lost_connection_comes_back(node: Broker, session: Session, queue: str) -> None:
    wire, inbox = Wire(node.address.port), Inbox()
    await wire.open()
    publishing = await session.publishing_channel()
    lost: list[object] = []

    async def use(own: Session) -> None:
        await (await own.channel()).consume(queue, inbox.take)
        channel = await own.publishing_channel()
        await channel.publish("", queue, b"mine")
        try:
            await run_together(own.watch(), asyncio.sleep(60))
        finally:
            lost.append(await error_of(channel.publish("", queue, b"too late")))

    async with kept(node, use, port=wire.port) as reasons:
        for times in (1, 2):
            await inbox.until(b"mine")
            await publishing.publish("", queue, b"other")
            await inbox.until(b"other")
            wire.cut()
            async with asyncio.timeout(10):
                while not any("cannot be reached" in reason for reason in reasons) or len(lost) < times:
                    await asyncio.sleep(0.01)
            assert "the connection to the broker: it was cut" in reasons
            reasons.clear()
            await wire.open()
        await inbox.until(b"mine")
    wire.cut()


async def test_why_the_broker_cuts_the_connection_is_told(node: Broker) -> None:
    async with await node.open() as session:
        watching = asyncio.ensure_future(session.watch())
        channel = await session.publishing_channel()
        pids = (await node.control("list_connections", "pid", "client_properties", "-s")).splitlines()
        pid = next(line.split("\t")[0] for line in pids if node.address.name in line)
        await node.control("close_connection", pid, "the operator wants it")
        error = await error_of(watching)
        assert isinstance(error, ClosedByBrokerError)
        assert error.message == "the broker closed the connection: CONNECTION_FORCED - the operator wants it (320)"
        assert "the operator wants it" in (await error_of(channel.publish("", "x", b"x"))).message
        assert "the operator wants it" in (await error_of(session.channel())).message


async def test_closing_ends_what_waits(node: Broker) -> None:
    session = await node.open()
    channel = await session.publishing_channel()
    watching = asyncio.ensure_future(session.watch())
    await session.close()
    assert "closed by this program" in (await error_of(watching)).message
    assert "closed by this program" in (await error_of(channel.publish("", "x", b"x"))).message
    await session.close()


# -- the token


async def test_a_token_is_renewed_on_the_open_connection(node: Broker, queue: str) -> None:
    given: list[float] = []

    async def source() -> tuple[str, float]:
        given.append(time.monotonic())
        return node.token(4), 4.0

    inbox = Inbox()
    async with await Session.open(node.address, source) as session:
        watching = asyncio.ensure_future(session.watch())
        channel = await session.publishing_channel()
        await (await session.channel()).consume(queue, inbox.take)
        until = time.monotonic() + 9
        while time.monotonic() < until:
            await channel.publish("", queue, b"x")
            await inbox.next()
            await asyncio.sleep(0.2)
        assert not watching.done()
        assert len(given) >= 4
        watching.cancel()


async def test_a_renewal_that_fails_is_tried_again_while_the_token_is_good(
    node: Broker, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [node.token(12), None, None, node.token(300)]

    async def source() -> tuple[str, float]:
        token = answers.pop(0)
        if token is None:
            raise UnavailableError("the issuer is away")
        return token, 12.0 if answers else 300.0

    async with await Session.open(node.address, source) as session:
        watching = asyncio.ensure_future(session.watch())
        async with asyncio.timeout(12):
            while answers:
                await asyncio.sleep(0.2)
        await asyncio.sleep(0.5)
        assert not watching.done()
        await (await session.publishing_channel()).publish("", queue, b"x")
        watching.cancel()
    assert "broker.token_not_renewed" in caplog.text


async def test_a_token_that_cannot_be_renewed_ends_the_session(node: Broker) -> None:
    given = iter([(node.token(60), 2.0)])

    async def source() -> tuple[str, float]:
        try:
            return next(given)
        except StopIteration:
            raise UnavailableError("the issuer is away") from None

    async with await Session.open(node.address, source) as session:
        assert "the issuer is away" in (await error_of(session.watch())).message


async def test_a_new_token_that_is_refused_is_told(node: Broker) -> None:
    tokens = iter([(node.token(60), 1.0), ("not.a.token", 1.0)])

    async def source() -> tuple[str, float]:
        return next(tokens)

    async with await Session.open(node.address, source) as session:
        error = await error_of(session.watch())
        assert isinstance(error, ClosedByBrokerError)
        assert "refused" in error.message.lower()
