"""What ``/metrics`` of an orchestrator shows on the loopback interface, for the site's own monitoring."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fedproc.contract.wire.messages import Capacity
from fedproc.site.retention.kept import Kept

_LONGEST = 5.0


@dataclass(frozen=True)
class Gauges:
    """What is measured at one moment."""

    accepting: bool
    connected: bool
    clock_skew: float
    """seconds ahead of the centre"""
    jobs: Counter[str]
    """open ones by state"""
    capacity: Capacity
    log_writable: bool = True
    log_broken: bool = False
    """the host's log, or the centre's, is not what its witness has seen"""
    kept: tuple[Kept, ...] = ()
    """what the last pass of the retention found"""


class MetricsCollector(Collector):
    """Asks ``sample`` on the orchestrator's own loop at each scrape; scrapes come in threads."""

    def __init__(self, sample: Callable[[], Awaitable[Gauges]], loop: asyncio.AbstractEventLoop) -> None:
        self._sample = sample
        self._loop = loop

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not need the loop."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Raises TimeoutError, which the scraper sees as a failed scrape, if the loop is stuck."""
        gauges = asyncio.run_coroutine_threadsafe(self._ask(), self._loop).result(_LONGEST)
        yield _gauge("accepting", "1 while the host takes jobs", gauges.accepting)
        yield _gauge("broker_connected", "1 while it is connected to the broker", gauges.connected)
        yield _gauge("clock_skew_seconds", "Its clock less the centre's", gauges.clock_skew)
        yield _gauge("log_writable", "1 while the transparency log can be written", gauges.log_writable)
        yield _gauge("log_broken", "1 if a transparency log is not what its witness has seen", gauges.log_broken)
        jobs = GaugeMetricFamily("fedproc_site_open_jobs", "Open jobs by state", labels=["state"])
        for state, count in gauges.jobs.items():
            jobs.add_metric([state], count)
        yield jobs
        yield from _of_capacity(gauges.capacity)
        yield from _of_kept(gauges.kept)

    async def _ask(self) -> Gauges:
        return await self._sample()


def _of_capacity(capacity: Capacity) -> Iterable[Metric]:
    yield _gauge("cpus", "Processors for jobs", capacity.cpus)
    yield _gauge("cpus_free", "Processors that no job has", capacity.cpus_free)
    yield _gauge("memory_bytes", "Memory for jobs", capacity.memory)
    yield _gauge("memory_free_bytes", "Memory that no job has", capacity.memory_free)
    yield _gauge("disk_bytes", "Disk for jobs", capacity.disk)
    yield _gauge("disk_free_bytes", "Disk that no job has", capacity.disk_free)
    yield _gauge("gpus", "GPUs that can be used", len(capacity.gpus))
    yield _gauge("gpus_free", "GPUs that no job has", sum(gpu.free for gpu in capacity.gpus))


def _of_kept(kept: tuple[Kept, ...]) -> Iterable[Metric]:
    yield _by_kind("kept", "What is kept, by kind", {one.kind: one.count for one in kept})
    yield _by_kind("kept_bytes", "Bytes of what is kept, by kind", {one.kind: one.size for one in kept})
    oldest = {one.kind: one.oldest for one in kept if one.oldest is not None}
    yield _by_kind("kept_oldest_timestamp_seconds", "When the oldest was over, or used last", oldest)
    yield _by_kind("kept_due", "What goes with the next pass, by kind", {one.kind: one.due for one in kept})
    removed = CounterMetricFamily("fedproc_site_removed", "What was removed since the start", labels=["kind"])
    for one in kept:
        removed.add_metric([one.kind], one.removed)
    yield removed


def _by_kind(name: str, description: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"fedproc_site_{name}", description, labels=["kind"])
    for kind, value in values.items():
        family.add_metric([kind], float(value))
    return family


def _gauge(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fedproc_site_{name}", description, value=float(value))


def show(port: int, sample: Callable[[], Awaitable[Gauges]]) -> Callable[[], None]:
    """Begin to answer on the loopback ``port``; what it returns ends that. Raises OSError if the port is taken."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(MetricsCollector(sample, asyncio.get_running_loop()))
    server, _ = start_http_server(port, addr="127.0.0.1", registry=registry)

    def end() -> None:
        server.shutdown()
        server.server_close()

    return end
