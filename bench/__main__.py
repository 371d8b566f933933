"""``python -m bench [--quick] [--only NAME]…``: measures everything and writes ``bench/results``.

The whole takes below a quarter of an hour, ``--quick`` below three minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import central, data, docker, executors, fanout, lists, memory, sandbox, scheduling, uploads
from bench.figures import Missing, Result, write
from bench.running import ROOT, Running, federation
from fedproc.common.errors import FedprocError, UnavailableError

_GROUPS = ("scheduling", "data", "sandbox", "central", "fanout", "uploads", "lists", "docker", "executors")


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 all measured (reached or not), 1 something could not be measured, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="bench", description="what fedproc costs, beside the plain thing")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes")
    parser.add_argument("--only", action="append", choices=_GROUPS, help="may be given more than once")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args(arguments)
    begun = time.monotonic()
    results = list(_measured(given.only or list(_GROUPS), given.quick, begun))
    table = write(results, given.out, quick=given.quick, seconds=time.monotonic() - begun)
    print(f"\n{table}\nwritten to {given.out}")
    return 1 if any(isinstance(result, Missing) for result in results) else 0


def _measured(groups: list[str], quick: bool, begun: float) -> Iterator[Result]:
    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)

    cache = Path(os.environ.get("DEMO_CACHE") or ROOT / ".cache")
    with tempfile.TemporaryDirectory(prefix="fedproc-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if "scheduling" in groups:
            yield from _said(scheduling.figures(quick=quick), say)
        if "data" in groups:
            yield from _said(data.figures(quick=quick), say)
        if "lists" in groups:
            yield from _said(lists.figures(quick=quick), say)
        if "executors" in groups:
            yield from _said(executors.figures(quick=quick), say)
        if set(groups) - {"docker", "executors", "scheduling", "data", "lists"}:
            with federation(folder / "sandbox", cache, say) as running:
                yield from _said(_without_engine(running, folder, groups, quick), say)
        if "docker" in groups:
            try:
                with federation(folder / "docker", cache, say, "docker") as running:
                    yield from _said(docker.figures(running, quick=quick), say)
            except UnavailableError as error:
                yield Missing("docker", error.message)


def _without_engine(running: Running, folder: Path, groups: list[str], quick: bool) -> Iterator[Result]:
    if "sandbox" in groups:
        yield memory.figure(running, "memory", "after its start")
        yield from sandbox.figures(running, quick=quick)
        yield memory.figure(running, "memory_after", "after the jobs")
    if "central" in groups:
        yield from central.figures(running, folder, quick=quick)
    if "fanout" in groups:
        yield fanout.figure(running, quick=quick)
    if "uploads" in groups:
        yield from uploads.figures(running, folder, quick=quick)


def _said(results: Iterator[Result], say: Callable[[str], None]) -> Iterator[Result]:
    for result in results:
        say(result.why if isinstance(result, Missing) else f"{result.what}: {result.value.median:.3g} {result.unit}")
        yield result


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FedprocError as error:
        sys.exit(f"bench: {error.message}")
