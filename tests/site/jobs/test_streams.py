"""What a job prints is sent to the centre once, whenever the sending is ended."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

from fedproc.site.jobs.streams import Streams


class Executor:
    """Standard error takes for ever to read, until ``slow`` is taken off it."""

    slow = True

    async def logs(self, handle: dict[str, Any], stream: str, *, offset: int = 0) -> Any:
        if stream == "stderr" and self.slow:
            await asyncio.sleep(3600)
        yield b"hello\n"[offset:]


async def test_what_was_read_when_the_reading_was_ended_is_sent_and_sent_once() -> None:
    policy = SimpleNamespace(metrics=False, logs=True)
    settings, journal = SimpleNamespace(host="UB"), SimpleNamespace(epoch="one")
    executor = Executor()
    services: Any = SimpleNamespace(policy=policy, settings=settings, journal=journal, executor=executor)
    order = SimpleNamespace(experiment="e-" + "0" * 26)
    record: Any = SimpleNamespace(job="j-" + "0" * 26, order=order, tails={})
    saved: list[tuple[str, str]] = []
    streams = Streams(services, record, None, saved.extend)  # type: ignore[arg-type]
    reading = asyncio.create_task(streams.catch_up({}))
    await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    executor.slow = False
    await streams.catch_up({})
    sent = [json.loads(body) for _, body in saved]
    assert [(one["stream"], one["sequence"], one["lines"]) for one in sent] == [
        ("stdout", 1, ["hello"]),
        ("stderr", 1, ["hello"]),
    ]
