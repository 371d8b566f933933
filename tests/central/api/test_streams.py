"""Waking live streams: those of experiments with news, and only those."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.support.books import Books

from fedproc.central.api.metrics import Metrics
from fedproc.central.api.streams import Streams
from fedproc.central.notify import Notifier, notifier_for


@asynccontextmanager
async def _running(books: Books) -> AsyncIterator[tuple[Streams, Notifier]]:
    notifier = notifier_for(books.engine, books.settings.runtime)
    streams = Streams(notifier, Metrics(), books.engine)
    task = asyncio.create_task(streams.run())
    try:
        yield streams, notifier
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _woken(news: asyncio.Event) -> None:
    async with asyncio.timeout(60):
        await news.wait()
    news.clear()


@pytest.mark.slow
async def test_only_the_streams_of_an_experiment_with_news_are_woken(books: Books) -> None:
    one, two = (books.submit(tool="lone", hosts=["UB"]) for _ in range(2))
    await asyncio.to_thread(books.dispatch)
    job = books.jobs(two)[0].id
    async with _running(books) as (streams, notifier):
        with streams.opened(one) as quiet, streams.opened(two) as first, streams.opened(two) as second:
            await asyncio.gather(*map(_woken, (quiet, first, second)))  # the listener has begun: all look once
            for number in range(1, 4):
                await asyncio.to_thread(books.say, job, "metrics", number, metrics={"n": number})
                await asyncio.to_thread(notifier.publish, "events")
                await asyncio.gather(_woken(first), _woken(second))
                assert not quiet.is_set()


async def test_a_stream_that_comes_later_is_woken_too(books: Books) -> None:
    experiment = books.submit(tool="lone", hosts=["UB"])
    await asyncio.to_thread(books.dispatch)
    job = books.jobs(experiment)[0].id
    async with _running(books) as (streams, notifier):
        for number in range(1, 4):
            with streams.opened(experiment) as news:
                await asyncio.to_thread(books.say, job, "metrics", number, metrics={"n": number})
                await asyncio.to_thread(notifier.publish, "events")
                await _woken(news)
            await asyncio.to_thread(notifier.publish, "events")


async def test_at_the_end_all_are_woken(books: Books) -> None:
    async with _running(books) as (streams, _):
        with streams.opened("e-one") as one, streams.opened("e-two") as two:
            streams.end()
            await asyncio.gather(_woken(one), _woken(two))
            assert streams.ending
