"""One HTTP/1.1 request on an open connection, with the clock read around it."""

from __future__ import annotations

import http.client
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SECONDS = 5.0
LARGEST_BODY = 1 << 16


@dataclass(frozen=True)
class Reply:
    """``sent`` and ``received`` are this machine's clock in seconds since 1970, ``headers`` have lower-case names."""

    status: int
    headers: dict[str, str]
    sent: float
    received: float
    body: bytes = b""

    @property
    def date(self) -> datetime | None:
        """The server's clock in whole seconds; ``None`` if it does not say or a cache answers (``Age``)."""
        if self.headers.get("age", "0") != "0":
            return None
        try:
            date = parsedate_to_datetime(self.headers.get("date", ""))
        except ValueError:
            return None
        return date.replace(tzinfo=date.tzinfo or UTC)


def get(channel: socket.socket, host: str, path: str) -> Reply:
    """Raises :class:`OSError` where the connection fails, :class:`ValueError` where the answer is not HTTP."""
    channel.settimeout(SECONDS)
    connection = http.client.HTTPConnection(host)
    connection.sock = channel
    sent = time.time()
    try:
        connection.request("GET", path, headers={"Cache-Control": "no-cache", "User-Agent": "fedproc-check"})
        response = connection.getresponse()
    except http.client.HTTPException as error:
        raise ValueError(f"the answer is not HTTP ({type(error).__name__})") from error
    received = time.time()
    body = response.read(LARGEST_BODY)
    return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, sent, received, body)
