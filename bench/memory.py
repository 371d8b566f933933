"""What an orchestrator that has nothing to do holds in memory."""

from __future__ import annotations

import psutil

from bench.figures import Figure
from bench.measure import Sample
from bench.running import Running
from fedproc.demo.configuration import HOSTS

_MIB = 1 << 20


def figure(running: Running, name: str, when: str) -> Figure:
    """Of all hosts' orchestrators."""
    sizes = [psutil.Process(running.pid(f"orchestrator-{host}")).memory_info().rss / _MIB for host in HOSTS]
    what = f"idle orchestrator, resident memory, {when}"
    return Figure(name, what, Sample(tuple(sizes)), 80, at_most=True, unit="MiB")
