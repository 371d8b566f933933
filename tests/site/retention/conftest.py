"""A host with a journal, whose time is told."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.orchestrator import Host

from fedproc.site.journal import Journal
from fedproc.site.retention.kept import DAY


class Time:
    """This host's clock, which is right, and goes on by ``days`` when it is told to."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._real = time.time

    def __call__(self) -> float:
        return self._real() + self.ahead

    def go_on(self, days: float) -> None:
        self.ahead += days * DAY

    def now(self) -> datetime:
        return datetime.fromtimestamp(self(), UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    found = Time()
    monkeypatch.setattr(time, "time", found)
    yield found


@pytest.fixture
async def journal(tmp_path: Path, clock: Time) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite")
    await journal.open()
    yield journal
    await journal.close()


@pytest.fixture
async def host(tmp_path: Path, journal: Journal, clock: Time) -> AsyncIterator[Host]:
    host = Host(tmp_path, journal, ())
    host.services.identity.clock.now = clock.now  # type: ignore[method-assign]
    yield host
    await host.orchestrator.close()
