"""A lost session is made again after pauses that grow, and begin anew after one that worked."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from fedproc.common import retry
from fedproc.common.amqp import BrokerError, keep_connected, reconnect


class Fake:
    """A session that lasts so many seconds; None for one that cannot even be opened."""

    def __init__(self, lasts: float) -> None:
        self.lasts = lasts

    async def __aenter__(self) -> Fake:
        return self

    async def __aexit__(self, *_: object) -> None:
        """It is lost already."""


async def pauses_after(lasted: list[float | None], monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[str]]:
    sessions, pauses, reasons, clock = iter(lasted), [0.0][:0], [""][:0], SimpleNamespace(now=0.0)

    async def connect() -> Any:
        if (lasts := next(sessions)) is None:
            raise BrokerError("nobody is there")
        return Fake(lasts)

    async def use(session: Any) -> None:
        clock.now += session.lasts
        raise BrokerError("cut")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == len(lasted):
            raise asyncio.CancelledError

    monkeypatch.setattr(reconnect, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(reconnect, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(retry.random, "uniform", lambda *_: 1.0)
    with pytest.raises(asyncio.CancelledError):
        await keep_connected(connect, use, reasons.append, 15.0)
    return pauses, reasons


async def test_the_pause_grows_and_begins_anew_after_a_session_that_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses, reasons = await pauses_after([None, None, None, 60.0, None, 1.0, None], monkeypatch)
    assert pauses == pytest.approx([0.2, 0.4, 0.8, 0.2, 0.4, 0.8, 1.6])
    assert reasons == ["nobody is there"] * 3 + ["cut", "nobody is there", "cut", "nobody is there"]


async def test_the_pause_has_a_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses, _ = await pauses_after([None] * 12, monkeypatch)
    assert pauses[-3:] == [15.0] * 3


async def test_what_nobody_foresaw_ends_it() -> None:
    async def connect() -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await keep_connected(connect, None, None, 1.0)  # type: ignore[arg-type]
