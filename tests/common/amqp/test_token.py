"""The token is the password, and is renewed on the open connection."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.support.amqp import Inbox, Node, error_of

from fedproc.common.amqp import (
    ClosedByBrokerError,
    Session,
)
from fedproc.common.amqp import session as session_module
from fedproc.common.errors import UnavailableError

pytestmark = pytest.mark.needs_broker


async def test_a_token_is_renewed_on_the_open_connection(node: Node, queue: str) -> None:
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
        await (await session.publishing_channel()).publish("", queue, b"x")  # the broker looks at the token once more
        assert not watching.done()
        assert len(given) >= 4
        watching.cancel()


async def test_a_renewal_that_fails_is_tried_again_while_the_token_is_good(
    node: Node, queue: str, caplog: pytest.LogCaptureFixture
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


@pytest.mark.parametrize("fault", ["hangs", "nobody foresaw"])
async def test_an_attempt_that_goes_wrong_otherwise_leaves_time_for_another(
    node: Node, queue: str, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(session_module, "_TOKEN_SECONDS", 1.5)
    asked = 0

    async def source() -> tuple[str, float]:
        nonlocal asked
        asked += 1
        if asked == 2:
            if fault == "hangs":
                await asyncio.sleep(600)
            raise KeyError("access_token")
        return node.token(300), 12.0 if asked == 1 else 300.0

    async with await Session.open(node.address, source) as session:
        watching = asyncio.ensure_future(session.watch())
        async with asyncio.timeout(11):
            while asked < 3:
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        assert not watching.done()
        await (await session.publishing_channel()).publish("", queue, b"x")
        watching.cancel()


async def test_a_token_that_cannot_be_renewed_ends_the_session(node: Node) -> None:
    given = iter([(node.token(60), 2.0)])

    async def source() -> tuple[str, float]:
        try:
            return next(given)
        except StopIteration:
            raise UnavailableError("the issuer is away") from None

    async with await Session.open(node.address, source) as session:
        assert "the issuer is away" in (await error_of(session.watch())).message


async def test_a_new_token_that_is_refused_is_told(node: Node) -> None:
    tokens = iter([(node.token(60), 1.0), ("not.a.token", 1.0)])

    async def source() -> tuple[str, float]:
        return next(tokens)

    async with await Session.open(node.address, source) as session:
        error = await error_of(session.watch())
        assert isinstance(error, ClosedByBrokerError)
        assert "refused" in error.message.lower()


async def test_a_token_that_was_not_renewed_is_refused_as_expired(node: Node, queue: str) -> None:
    async def source() -> tuple[str, float]:
        return node.token(2), 300.0

    async with await Session.open(node.address, source) as session:
        async with asyncio.timeout(20):
            with pytest.raises(ClosedByBrokerError, match="expired"):
                while True:
                    await (await session.publishing_channel()).publish("", queue, b"x")
                    await asyncio.sleep(0.5)
