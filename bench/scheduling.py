"""How well a host's pool fills its machine: simulated, beside first come first served and beside the ideal packing.

The mix, of a machine with 16 CPUs, 2 GPUs and memory and disk enough: of ten jobs seven want 1 or 2 CPUs for 1 to 20
minutes, two want 4 CPUs for half an hour to 4 hours, one wants a GPU and 4 CPUs for 1 to 8 hours. These are their
limits; they run for 30 to 100 % of them. They come at random moments, as fast as 95 % of the machine can do.
The ideal is the least time in which any order could do the same work.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass

from bench.figures import Figure
from bench.measure import Sample
from fedproc.contract.tool.task import Resources
from fedproc.contract.wire.messages import Capacity, GpuInfo
from fedproc.site.jobs.resources.backfill import Holder, Request, next_to_start

_CPUS, _GPUS, _GB = 16.0, 2, 10**9
_LOAD = 0.95
_MINUTE = 60.0


@dataclass(frozen=True)
class _Job:
    comes: float
    request: Request
    runs: float

    @property
    def cpus(self) -> float:
        return self.request.wanted.cpus

    @property
    def gpus(self) -> int:
        return 1 if self.request.wanted.gpu else 0


@dataclass(frozen=True)
class _Outcome:
    utilisation: float
    """of the CPUs, until the last job is over"""
    longest_wait: float
    """seconds"""


def figures(*, quick: bool) -> Iterator[Figure]:
    """Each seed is a round."""
    rounds = [_round(seed, 300 if quick else 2000) for seed in range(3 if quick else 10)]
    backfill, in_order, ideal = (Sample(tuple(one[side].utilisation for one in rounds)) for side in range(3))
    sides = {"backfill": (backfill, "of the CPUs"), "first come first served": (in_order, "of the CPUs")}
    yield Figure(
        name="scheduling_utilisation",
        what="a host's CPUs in use, beside the ideal packing (simulated)",
        value=backfill.over(ideal),
        target=0.9,
        at_most=False,
        sides={**sides, "ideal packing": (ideal, "of the CPUs")},
    )
    ours, theirs = (Sample(tuple(one[side].longest_wait / 3600 for one in rounds)) for side in range(2))
    yield Figure(
        name="scheduling_wait",
        what="the longest wait of a job, beside first come first served (simulated)",
        value=ours.over(theirs),
        target=1.0,
        at_most=True,
        sides={"backfill": (ours, "h"), "first come first served": (theirs, "h")},
    )


def _round(seed: int, count: int) -> tuple[_Outcome, _Outcome, _Outcome]:
    jobs = _mix(random.Random(seed), count)
    return _play(jobs, passing=True), _play(jobs, passing=False), _ideal(jobs)


def _mix(chance: random.Random, count: int) -> list[_Job]:
    wanted = [_wanted(chance) for _ in range(count)]
    work = sum(request.wanted.cpus * runs for request, runs in wanted) / _CPUS
    on_gpus = sum(runs for request, runs in wanted if request.wanted.gpu) / _GPUS
    gap = max(work, on_gpus) / _LOAD / count
    jobs, moment = [], 0.0
    for request, runs in wanted:
        moment += chance.expovariate(1 / gap)
        jobs.append(_Job(moment, request, runs))
    return jobs


def _wanted(chance: random.Random) -> tuple[Request, float]:
    kind = chance.random()
    if kind < 0.7:
        cpus, seconds, gpu = chance.choice((1, 2)), chance.uniform(1, 20) * _MINUTE, None
    elif kind < 0.9:
        cpus, seconds, gpu = 4, chance.uniform(30, 240) * _MINUTE, None
    else:
        cpus, seconds, gpu = 4, chance.uniform(60, 480) * _MINUTE, {"count": 1}
    resources = Resources.model_validate({"cpus": cpus, "gpu": gpu, "run_seconds": round(seconds)})
    return Request(resources, seconds), seconds * chance.uniform(0.3, 1.0)


def _machine() -> Capacity:
    gpus = tuple(
        GpuInfo(uuid=f"GPU-{n}", name="simulated", vram=80 * _GB, compute_capability=9.0) for n in range(_GPUS)
    )
    much = 10_000 * _GB
    return Capacity(cpus=_CPUS, cpus_free=_CPUS, memory=much, memory_free=much, disk=much, disk_free=much, gpus=gpus)


def _play(jobs: list[_Job], *, passing: bool) -> _Outcome:
    """``passing``: whether the pool's rule decides, or the first in the queue alone may start."""
    machine, queue, waits = _machine(), list[_Job](), list[float]()
    coming, running, clock = list(reversed(jobs)), list[tuple[float, int, Holder]](), 0.0
    while coming or queue or running:
        clock = min([coming[-1].comes] if coming else [], default=running[0][0] if running else 0.0)
        clock = min(clock, running[0][0]) if running else clock
        while running and running[0][0] <= clock:
            heapq.heappop(running)
        while coming and coming[-1].comes <= clock:
            queue.append(coming.pop())
        while queue:
            requests = [job.request for job in queue[: None if passing else 1]]
            found = next_to_start(machine, (holder for _, _, holder in running), requests, clock)
            if found is None:
                break
            place, share = found
            job = queue.pop(place)
            waits.append(clock - job.comes)
            heapq.heappush(running, (clock + job.runs, len(waits), Holder(share, clock + job.request.seconds)))
    return _Outcome(sum(job.cpus * job.runs for job in jobs) / (_CPUS * clock), max(waits))


def _ideal(jobs: list[_Job]) -> _Outcome:
    """What no order can beat: for each moment, the work that comes after it, done without a gap."""
    least, work, on_gpus = 0.0, 0.0, 0.0
    for job in reversed(jobs):
        work += job.cpus * job.runs / _CPUS
        on_gpus += job.gpus * job.runs / _GPUS
        least = max(least, job.comes + max(work, on_gpus, job.runs))
    return _Outcome(sum(job.cpus * job.runs for job in jobs) / (_CPUS * least), 0.0)
