"""Why there is no connection, or no more, is told; the way may be a proxy, and a lost connection comes back."""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.amqp import Inbox, Node, Wire, error_of
from tests.support.proxying import ConnectProxy

from fedproc.common.amqp import (
    ClosedByBrokerError,
    Session,
    keep_connected,
)
from fedproc.common.amqp import session as session_module
from fedproc.common.tasks import run_together
from fedproc.contract.wire import routing
from fedproc.demo.keys import Keyring
from fedproc.demo.polling import free_ports
from fedproc.site.centre.egress import ProxyConnector

pytestmark = pytest.mark.needs_broker


async def test_a_refused_channel_says_why_and_leaves_the_connection(node: Node, queue: str) -> None:
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
async def test_a_refused_token_says_so(node: Node, token: str) -> None:
    async def source() -> tuple[str, float]:
        return node.token(-60) if token == "expired" else token, 300

    error = await error_of(Session.open(node.address, source))
    assert isinstance(error, ClosedByBrokerError)
    assert error.reply_code == 403
    assert "Login was refused" in error.message


async def test_a_refused_virtual_host_says_so(node: Node) -> None:
    error = await error_of(node.open(vhost="elsewhere"))
    assert isinstance(error, ClosedByBrokerError)
    assert error.reply_code == 530
    assert "vhost elsewhere" in error.message


async def test_another_authority_is_not_trusted(node: Node, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(Keyring(tmp_path).ca_file))
    error = await error_of(node.open(tls=context))
    assert f"localhost:{node.address.port}" in error.message
    assert "a certificate that is not trusted" in error.message


async def test_a_broker_that_is_not_there(node: Node) -> None:
    error = await error_of(node.open(port=free_ports(1)[0]))
    assert "cannot be reached" in error.message


async def test_something_else_than_a_broker(node: Node) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    error = await error_of(node.open(port=server.sockets[0].getsockname()[1], tls=None))
    assert "the connection to the broker" in error.message
    server.close()


async def test_a_broker_that_says_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_OPEN_SECONDS", 0.3)

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    error = await error_of(node.open(port=server.sockets[0].getsockname()[1], tls=None))
    assert "does not answer within" in error.message
    server.close()


# -- the way to it


async def test_the_broker_is_reached_through_a_proxy(node: Node, queue: str) -> None:
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


@asynccontextmanager
async def kept(node: Node, use: Callable[[Session], Awaitable[None]], **changes: Any) -> AsyncIterator[list[str]]:
    """A session that is kept; what was wrong with it, so far."""
    reasons: list[str] = []
    running = asyncio.create_task(keep_connected(lambda: node.open(**changes), use, reasons.append, 1.0))
    yield reasons
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_lost_connection_comes_back(node: Node, session: Session, queue: str) -> None:
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
            async with asyncio.timeout(60):
                while not any("cannot be reached" in reason for reason in reasons) or len(lost) < times:
                    await asyncio.sleep(0.01)
            assert reasons[0].startswith("the connection to the broker: ")
            assert reasons[0].endswith(("it was cut", "reset by peer"))
            reasons.clear()
            await wire.open()
        await inbox.until(b"mine")
    wire.cut()


async def test_why_the_broker_cuts_the_connection_is_told(node: Node) -> None:
    name = f"test {uuid.uuid4().hex}"
    async with await node.open(name=name) as session:
        watching = asyncio.ensure_future(session.watch())
        channel = await session.publishing_channel()
        pids = (await node.control("list_connections", "pid", "client_properties", "-s")).splitlines()
        pid = next(line.split("\t")[0] for line in pids if name in line)
        await node.control("close_connection", pid, "the operator wants it")
        error = await error_of(watching)
        assert isinstance(error, ClosedByBrokerError)
        assert error.message == "the broker closed the connection: CONNECTION_FORCED - the operator wants it (320)"
        assert "the operator wants it" in (await error_of(channel.publish("", "x", b"x"))).message
        assert "the operator wants it" in (await error_of(session.channel())).message


async def test_closing_ends_what_waits(node: Node) -> None:
    session = await node.open()
    channel = await session.publishing_channel()
    watching = asyncio.ensure_future(session.watch())
    await session.close()
    assert "closed by this program" in (await error_of(watching)).message
    assert "closed by this program" in (await error_of(channel.publish("", "x", b"x"))).message
    await session.close()
