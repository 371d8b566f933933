"""What an orchestrator's ``/metrics`` shows."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

import httpx
import pytest

from fedproc.contract.wire.messages import Capacity, GpuInfo
from fedproc.site.retention.kept import Kept
from fedproc.site.status.metrics import Gauges, show

CAPACITY = Capacity(
    cpus=8, cpus_free=6.5, memory=1 << 33, memory_free=1 << 32, disk=1 << 40, disk_free=1 << 39,
    gpus=(GpuInfo(uuid="GPU-1", name="A", vram=1), GpuInfo(uuid="GPU-2", name="A", vram=1, free=False)),
)  # fmt: skip


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
async def test_it_shows_how_the_host_is_at_each_scrape_and_ends() -> None:
    jobs: Counter[str] = Counter(running=2)

    async def sample() -> Gauges:
        return Gauges(accepting=True, connected=False, clock_skew=-1.5, jobs=jobs, capacity=CAPACITY)

    port = free_port()
    end = show(port, sample)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        first = (await http.get("/metrics")).text
        jobs["awaiting_release"] += 1
        second = (await http.get("/metrics")).text
    await asyncio.to_thread(end)
    for line in (
        "fedproc_site_accepting 1.0",
        "fedproc_site_broker_connected 0.0",
        "fedproc_site_clock_skew_seconds -1.5",
        'fedproc_site_open_jobs{state="running"} 2.0',
        "fedproc_site_cpus_free 6.5",
        "fedproc_site_gpus 2.0",
        "fedproc_site_gpus_free 1.0",
        "process_resident_memory_bytes",
    ):
        assert f"\n{line}" in first
    assert "awaiting_release" not in first
    assert 'fedproc_site_open_jobs{state="awaiting_release"} 1.0' in second
    with socket.socket() as again:
        assert again.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.slow
async def test_it_shows_what_is_kept_by_kind() -> None:
    kept = Kept("jobs", "records of ended jobs", 12, 3456, oldest=1000.0, days=30, due=2, removed=7)
    gauges = Gauges(True, True, 0.0, Counter(), CAPACITY, kept=(kept, Kept("outbox", "messages", 0, 0)))

    async def sample() -> Gauges:
        return gauges

    port = free_port()
    end = show(port, sample)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        shown = (await http.get("/metrics")).text
    await asyncio.to_thread(end)
    for line in (
        'fedproc_site_kept{kind="jobs"} 12.0',
        'fedproc_site_kept_bytes{kind="jobs"} 3456.0',
        'fedproc_site_kept_oldest_timestamp_seconds{kind="jobs"} 1000.0',
        'fedproc_site_kept_due{kind="jobs"} 2.0',
        'fedproc_site_removed_total{kind="jobs"} 7.0',
        'fedproc_site_kept{kind="outbox"} 0.0',
    ):
        assert f"\n{line}" in shown
    assert 'oldest_timestamp_seconds{kind="outbox"}' not in shown
