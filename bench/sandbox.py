"""No-op jobs in the sandbox: how long one takes, and how many a host does in a second."""

from __future__ import annotations

from collections.abc import Iterator

from bench.figures import Figure
from bench.measure import Sample, side_by_side
from bench.plain_bwrap import PlainLoop, plain_loop
from bench.running import CPUS, Running


def figures(running: Running, *, quick: bool) -> Iterator[Figure]:
    """Both."""
    with plain_loop() as loop:
        yield _latency(running, loop, 20 if quick else 100)
        yield _throughput(running, loop, *((100, 2) if quick else (500, 3)))


def _latency(running: Running, loop: PlainLoop, rounds: int) -> Figure:
    ours, bare = side_by_side(rounds, running.job, lambda: loop.run(1, 1), warm=5)
    return Figure(
        "sandbox_job",
        "no-op sandbox job, from submission to `succeeded` seen",
        ours,
        0.08,
        at_most=True,
        unit="s",
        sides={"the same `bwrap` call alone": (bare.times(1000), "ms")},
    )


def _throughput(running: Running, loop: PlainLoop, jobs: int, rounds: int) -> Figure:
    ours, bare = side_by_side(
        rounds, lambda: running.burst(jobs), lambda: loop.run(jobs, CPUS), warm=0
    )  # fmt: skip
    rate = {name: Sample(tuple(jobs / value for value in sample.values)) for name, sample in (("o", ours), ("b", bare))}
    return Figure(
        "sandbox_burst",
        f"{jobs} no-op sandbox jobs on one host, jobs/s ÷ a plain loop of the same `bwrap` calls, {CPUS} at a time",
        rate["o"].over(rate["b"]),
        0.3,
        at_most=False,
        sides={"fedproc": (rate["o"], "jobs/s"), "loop": (rate["b"], "calls/s")},
    )
