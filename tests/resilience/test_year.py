"""A host that works for a year, by a clock that runs fast: what it keeps, on disk and in memory, stays level."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.site.retention.conftest import Time
from tests.support.orchestrator import Executor, Host, order
from tests.support.tool_store import ToolStore

from fedproc.contract.ids import new_id
from fedproc.contract.wire.messages import Cancel, Deadlines
from fedproc.site.executors.base import Spec
from fedproc.site.journal import Journal
from fedproc.site.retention.folders import size_of
from fedproc.site.retention.keeper import Retention

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

STEP = 5
"""days that pass at once"""
JOBS = 8
"""of each step"""
DAYS = 365
FIRST, LAST = (150, 180), (330, DAYS)
"""days of two months that are compared: of each the most counts, as things come and go within one"""
AWAY = range(200, 260)
"""days without the centre"""
MORE = 1.1


class Quick(Executor):
    """Its jobs end at once, and well."""

    async def submit(self, spec: Spec) -> dict[str, Any]:
        handle = await super().submit(spec)
        self.exit_code = 0
        self.started.clear()
        self.running[spec.job].set()
        return handle


class Year:
    def __init__(self, folder: Path, clock: Time) -> None:
        self.folder = folder
        self.clock = clock
        self.store = ToolStore(folder)
        self.figures: dict[int, dict[str, float]] = {}
        self.orders: list[Any] = []

    async def start(self) -> None:
        self.journal = Journal(self.folder / "journal.sqlite")
        await self.journal.open()
        host = Host(self.folder, self.journal, ())
        host.services.executor = host.executor = Quick()
        host.services.identity.clock.now = self.clock.now  # type: ignore[method-assign]
        host.services.settings.keep_job_folders = True  # type: ignore[misc]
        self.host = host
        await host.orchestrator.resume()
        store = {"tool_cache": self.store.cache, "runtimes": self.store.venvs}
        self.retention = Retention(replace(host.services, **store), host.orchestrator)

    async def end(self) -> None:
        await self.host.orchestrator.close()
        await self.journal.close()

    async def day(self, number: int) -> None:
        if number % 15 == 0:
            await self.store.has("km", f"1.{number}.0")
        last = self.clock.now() + timedelta(days=2)
        deadlines = Deadlines(start_by=last, end_by=last, release_by=last)
        orders = [order().model_copy(update={"deadlines": deadlines}) for _ in range(JOBS)]
        await asyncio.gather(*(self.host.orchestrator.accept(one) for one in orders))
        await self.host.orchestrator.cancel(Cancel(job=new_id("j")))
        await asyncio.gather(*(self.host.ended(one.job) for one in orders))
        await asyncio.gather(*(self.host.orchestrator.accept(one) for one in self.orders))  # once more: nothing runs
        assert not self.host.orchestrator.runs
        for one in orders:  # the files' times are the system's own
            os.utime(self.folder / "jobs" / one.job, (self.clock(),) * 2)
        self.orders = orders
        if number not in AWAY:
            while waiting := await self.journal.outgoing(0):
                await self.journal.confirmed([entry.id for entry in waiting])
        await self.retention.clean()
        await self._measure(number)

    async def _measure(self, number: int) -> None:
        gc.collect()
        kept = {found.kind: found.count for found in await self.retention.survey()}
        self.figures[number] = {
            **kept,
            "journal": sum(path.stat().st_size for path in self.folder.glob("journal.sqlite*")),
            "folders": sum(size_of(self.folder / name) for name in ("jobs", "tools", "environments")),
            "objects": len(gc.get_objects()),
        }

    def most(self, days: tuple[int, int], name: str) -> float:
        return max(self.figures[day][name] for day in range(*days, STEP))


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    found = Time()
    monkeypatch.setattr(time, "time", found)
    yield found


async def test_what_a_host_keeps_stays_level_over_a_year(tmp_path: Path, fast: Time) -> None:
    year = Year(tmp_path, fast)
    await year.start()
    for number in range(0, DAYS, STEP):
        await year.day(number)
        fast.go_on(STEP)
        if number in (100, 220, 320):
            await year.end()
            await year.start()
    await year.end()
    grown = {
        name: (year.most(FIRST, name), year.most(LAST, name))
        for name in year.figures[DAYS - STEP]
        if name != "tombstones"  # they stay for 400 days
    }
    assert grown["jobs"][1] <= JOBS * (30 / STEP + 1)
    assert grown["job_folders"][1] <= JOBS * 2
    assert {name: pair for name, pair in grown.items() if pair[1] > pair[0] * MORE + 2} == {}
