"""A notification that gets lost is no harm."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from fedproc.central.notify import PostgresNotifier, SocketNotifier
from fedproc.demo.polling import free_ports


def test_a_database_that_is_away_does_not_end_who_notifies(caplog: pytest.LogCaptureFixture) -> None:
    (nobody,) = free_ports(1)
    PostgresNotifier(create_engine(f"postgresql+psycopg://x@127.0.0.1:{nobody}/x")).publish("events")
    assert "notification.lost" in caplog.text


@pytest.mark.parametrize("name", ["gone.sock", "folder.sock", "loop.sock"])
def test_a_socket_that_cannot_be_sent_to_does_not_end_who_notifies(tmp_path: Path, name: str) -> None:
    notifier = SocketNotifier(tmp_path)
    place = tmp_path / "bells" / name
    if name == "folder.sock":
        place.mkdir()
    elif name == "loop.sock":
        place.symlink_to(place)
    else:
        place.touch()
    notifier.publish("events")


@pytest.mark.slow
async def test_a_listener_that_breaks_is_started_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    notifier = SocketNotifier(tmp_path)

    def broken_once(topic: str) -> None:
        heard.append(topic)
        if len(heard) == 1:
            raise RuntimeError("the connection with the database was cut")

    listening = asyncio.create_task(notifier.keep_listening(broken_once))
    async with asyncio.timeout(20):
        while len(heard) < 4:
            await asyncio.sleep(0.05)
    assert heard[1:] == ["outbox", "events", "hosts"]
    assert "notifier.failed" in caplog.text
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening
