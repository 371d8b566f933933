"""Sessions at a test's broker: with a token that the test has, or with tokens that live as long as it wants."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from fedproc.common.amqp import BrokerAddress, Delivery, Session
from fedproc.common.errors import UnavailableError
from fedproc.contract.wire import routing
from fedproc.demo.broker import SCOPE_CLAIM, BrokerPlan
from fedproc.demo.keys import Keyring

QUORUM = {"x-queue-type": "quorum"}


async def connect(port: int, token: str, ca_file: Path | str, user: str = "x", host: str = "localhost") -> Session:
    """A context manager, as :class:`Session` is."""

    async def source() -> tuple[str, float]:
        return token, 300.0

    context = ssl.create_default_context(cafile=str(ca_file))
    return await Session.open(BrokerAddress(host, port, "/", user, "test", context), source)


class Node:
    """A broker, and tokens for it that live as long as a test wants."""

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


class Inbox:
    """Takes what comes, and does with it what the test says."""

    def __init__(self, answer: Callable[[Delivery], None] = Delivery.ack) -> None:
        self.got: asyncio.Queue[Delivery] = asyncio.Queue()
        self._answer = answer

    async def take(self, delivery: Delivery) -> None:
        self.got.put_nowait(delivery)
        self._answer(delivery)

    async def next(self) -> Delivery:
        return await asyncio.wait_for(self.got.get(), 30)

    async def until(self, body: bytes) -> None:
        while (await self.next()).body != body:
            """It came again: its ack was lost with a connection."""


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


async def error_of(work: Awaitable[object]) -> Any:
    with pytest.raises(UnavailableError) as raised:
        await asyncio.wait_for(asyncio.ensure_future(work), 30)
    return raised.value
