"""No-op jobs in containers, beside ``docker run`` of the same image."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.figures import Figure
from bench.measure import Sample, side_by_side
from bench.running import CPUS, TOOLS, Running
from fedproc.catalog.building import image_name
from fedproc.catalog.folder import load_tool
from fedproc.catalog.signing import tool_digest
from fedproc.demo.configuration import BASE_IMAGE
from fedproc.demo.engine import MACHINES_OWN


def figures(running: Running, *, quick: bool) -> Iterator[Figure]:
    """Both, in a federation whose hosts run containers."""
    plain = _Plain(running)
    yield _latency(running, plain, 6 if quick else 25)
    yield _throughput(running, plain, 50, 1 if quick else 3)


def _latency(running: Running, plain: _Plain, rounds: int) -> Figure:
    ours, bare = side_by_side(rounds, running.job, plain.run, warm=2)
    return Figure(
        "docker_job",
        "no-op Docker job, from `POST /experiments` to `succeeded` seen ÷ plain `docker run` of the same image",
        ours.over(bare),
        1.15,
        at_most=True,
        sides={"fedproc": (ours, "s"), "`docker run`": (bare, "s")},
    )


def _throughput(running: Running, plain: _Plain, jobs: int, rounds: int) -> Figure:
    ours, bare = side_by_side(rounds, lambda: running.burst(jobs), lambda: plain.burst(jobs), warm=0)
    rates = [Sample(tuple(jobs / seconds for seconds in sample.values)) for sample in (ours, bare)]
    return Figure(
        "docker_burst",
        f"burst of {jobs} such jobs, jobs/s ÷ plain `docker run`, {CPUS} at a time",
        rates[0].over(rates[1]),
        0.95,
        at_most=False,
        sides={"fedproc": (rates[0], "jobs/s"), "`docker run`": (rates[1], "runs/s")},
    )


class _Plain:
    """``docker run`` of the image that the jobs run in, on the engine that they run on."""

    def __init__(self, running: Running) -> None:
        own = running.folder / "run" / "docker.sock"
        socket: Path = own if own.exists() else MACHINES_OWN
        image = image_name(tool_digest(load_tool(TOOLS / "noop")), "Dockerfile", BASE_IMAGE)
        self._command = ["docker", "-H", f"unix://{socket}", "run", "--rm", "--network", "none", image, "/bin/true"]

    def run(self) -> None:
        subprocess.run(self._command, check=True, capture_output=True)

    def burst(self, count: int) -> None:
        with ThreadPoolExecutor(CPUS) as pool:
            list(pool.map(lambda _: self.run(), range(count)))
