"""A session at a test's broker with a token that the test has."""

from __future__ import annotations

import ssl
from pathlib import Path

from fedproc.common.amqp import BrokerAddress, Session


async def connect(port: int, token: str, ca_file: Path | str, user: str = "x", host: str = "localhost") -> Session:
    """A context manager, as :class:`Session` is."""

    async def source() -> tuple[str, float]:
        return token, 300.0

    context = ssl.create_default_context(cafile=str(ca_file))
    return await Session.open(BrokerAddress(host, port, "/", user, "test", context), source)
