"""How the central programs wake each other: NOTIFY on PostgreSQL, unix datagrams on SQLite.

A notification carries a topic and nothing else; who gets it reads the database. One that is lost does no harm beyond
delay: every listener also polls from time to time.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from fedproc.central.db.engine import postgres_limits
from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff
from fedproc.common.sockets import unix_address

log = get_logger(__name__)

Topic = Literal["outbox", "events", "hosts"]
"""``outbox``: messages to hosts wait. ``events``: an experiment's events grew. ``hosts``: a host was changed."""

OnTopic = Callable[[str], None]
CHANNEL = "fedproc"
_LONGEST_PAUSE = 5.0


class Notifier(ABC):
    """Publishes after a commit, and listens for what other processes publish (and its own)."""

    @abstractmethod
    def publish(self, topic: Topic) -> None:
        """Wake everyone; cheap, never fails, called after the commit that there is news of."""

    async def keep_listening(self, on_topic: OnTopic) -> NoReturn:
        """:meth:`listen`, again and again: while it cannot, its caller's own polling covers the gap."""
        backoff = Backoff(1, _LONGEST_PAUSE)
        while True:
            began = time.monotonic()
            try:
                await self.listen(on_topic)
            except Exception as error:
                unforeseen = None if isinstance(error, OSError | psycopg.Error) else error
                log.error("notifier.failed", reason=str(error), exc_info=unforeseen)
            if time.monotonic() - began > _LONGEST_PAUSE:
                backoff.reset()
            await asyncio.sleep(backoff.pause())

    @abstractmethod
    async def listen(self, on_topic: OnTopic) -> None:
        """Call ``on_topic(topic)`` for every notification until cancelled; also once with every topic at the start."""


class SocketNotifier(Notifier):
    """Each listener has a datagram socket in a common folder; publishing sends to all that are there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "bells"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._out.setblocking(False)

    def publish(self, topic: Topic) -> None:
        for path in self._folder.glob("*.sock"):
            try:
                self._send(topic, path)
            except OSError as error:
                log.warning("notification.lost", topic=topic, reason=str(error))

    def _send(self, topic: Topic, path: Path) -> None:
        try:
            with unix_address(path) as address:
                self._out.sendto(topic.encode(), address)
        except BlockingIOError:
            return  # its buffer is full of them: it will poll anyway
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)

    async def listen(self, on_topic: OnTopic) -> None:
        path = self._folder / f"{os.getpid()}-{id(on_topic):x}.sock"
        path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as incoming:
            incoming.setblocking(False)
            with unix_address(path) as address:
                incoming.bind(address)
            try:
                for topic in ("outbox", "events", "hosts"):
                    on_topic(topic)
                while True:
                    on_topic((await loop.sock_recv(incoming, 64)).decode(errors="replace"))
            finally:
                path.unlink(missing_ok=True)


class PostgresNotifier(Notifier):
    """LISTEN and NOTIFY of PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def publish(self, topic: Topic) -> None:
        try:
            with self._engine.begin() as connection:
                self.publish_in(connection, topic)
        except SQLAlchemyError as error:
            log.warning("notification.lost", topic=topic, reason=str(error))

    def publish_in(self, connection: Connection, topic: Topic) -> None:
        connection.execute(text("SELECT pg_notify(:channel, :topic)"), {"channel": CHANNEL, "topic": topic})

    async def listen(self, on_topic: OnTopic) -> None:
        url = self._engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        limits: dict[str, Any] = dict(postgres_limits(url))
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, **limits) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            for topic in ("outbox", "events", "hosts"):
                on_topic(topic)
            async for notice in connection.notifies():
                on_topic(notice.payload)


def notifier_for(engine: Engine, runtime: Path) -> Notifier:
    """The notifier that fits the database."""
    return SocketNotifier(runtime) if engine.dialect.name == "sqlite" else PostgresNotifier(engine)
