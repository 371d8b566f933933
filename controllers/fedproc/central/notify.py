"""How the central programs wake each other: NOTIFY on PostgreSQL, unix datagrams on SQLite.

A bell carries a topic and nothing else; who hears it looks into the database. A lost ring is no harm beyond
delay: every listener also looks from time to time.
"""

from __future__ import annotations

import asyncio
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import psycopg
from sqlalchemy import Connection, Engine, text

Topic = Literal["outbox", "events", "hosts"]
"""``outbox``: messages to hosts wait. ``events``: an experiment's events grew. ``hosts``: a host was changed."""

Heard = Callable[[str], None]
CHANNEL = "fedproc"


class Bell(ABC):
    """Rings after a commit, and listens for rings of other processes (and its own)."""

    @abstractmethod
    def ring(self, topic: Topic) -> None:
        """Tell everyone; cheap, never fails, called after the commit that there is news of."""

    @abstractmethod
    async def listen(self, heard: Heard) -> None:
        """Call ``heard(topic)`` for every ring until cancelled; also once with every topic at the start."""


class SocketBell(Bell):
    """Each listener has a datagram socket in a common folder; ringing sends to all that are there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "bells"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._out.setblocking(False)

    def ring(self, topic: Topic) -> None:
        for path in self._folder.glob("*.sock"):
            try:
                self._out.sendto(topic.encode(), str(path))
            except BlockingIOError:
                continue  # its buffer is full of rings: it will look anyway
            except (ConnectionRefusedError, FileNotFoundError):
                path.unlink(missing_ok=True)

    async def listen(self, heard: Heard) -> None:
        path = self._folder / f"{os.getpid()}-{id(heard):x}.sock"
        path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as incoming:
            incoming.setblocking(False)
            incoming.bind(str(path))
            try:
                for topic in ("outbox", "events", "hosts"):
                    heard(topic)
                while True:
                    heard((await loop.sock_recv(incoming, 64)).decode(errors="replace"))
            finally:
                path.unlink(missing_ok=True)


class NotifyBell(Bell):
    """LISTEN and NOTIFY of PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ring(self, topic: Topic) -> None:
        with self._engine.begin() as connection:
            self.ring_in(connection, topic)

    def ring_in(self, connection: Connection, topic: Topic) -> None:
        connection.execute(text("SELECT pg_notify(:channel, :topic)"), {"channel": CHANNEL, "topic": topic})

    async def listen(self, heard: Heard) -> None:
        url = self._engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            for topic in ("outbox", "events", "hosts"):
                heard(topic)
            async for notice in connection.notifies():
                heard(notice.payload)


def bell_for(engine: Engine, runtime: Path) -> Bell:
    """The bell that fits the database."""
    return SocketBell(runtime) if engine.dialect.name == "sqlite" else NotifyBell(engine)
