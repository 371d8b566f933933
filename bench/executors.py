"""Each executor's no-op job, and a burst of 50, beside the plain thing: no orchestrator, no centre, in one run.

What a machine lacks is left out, and said. Engines and clusters are those of the contract suite, started here.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.support.executors import (
    BACKENDS,
    LIMITS,
    Backend,
    DockerBackend,
    PodmanBackend,
    SlurmBackend,
    job_id,
)

from bench.figures import Figure, Missing, Result
from bench.measure import Sample, side_by_side
from bench.plain_bwrap import plain_loop
from bench.running import CPUS
from fedproc.common.errors import FedprocError
from fedproc.site.executors.base import Spec
from fedproc.site.executors.image_root import ROOT

_BURST = 50
_NOT_TO_BE_HAD = (OSError, FedprocError, subprocess.SubprocessError, RuntimeError, AssertionError)
Plain = Callable[[int], object]
"""makes so many plain runs"""


def figures(*, quick: bool) -> Iterator[Result]:
    """Two for each executor that this machine has the parts of."""
    for name, backend in BACKENDS.items():
        with tempfile.TemporaryDirectory(prefix="fedproc-bench-") as place:
            folder = Path(place)
            folder.chmod(0o755)
            try:
                made = backend(folder)
            except _NOT_TO_BE_HAD as error:
                yield Missing(f"executor_{name}", f"{name} cannot be started here: {error}")
                continue
            try:
                yield from _figures(name, made, folder, quick=quick)
            except _NOT_TO_BE_HAD as error:  # a part that is looked for when a job starts, as Apptainer
                yield Missing(f"executor_{name}", f"{name} cannot be measured here: {error}")
            finally:
                made.close()


def _figures(name: str, backend: Backend, folder: Path, *, quick: bool) -> Iterator[Figure]:
    jobs = _Jobs(backend, folder)
    with _plain_of(name, backend, jobs) as (what, plain):
        ours, bare = side_by_side(5 if quick else 25, lambda: jobs.run(1), lambda: plain(1), warm=2)
        yield Figure(
            f"executor_{name}_job", f"no-op job of executor `{name}`, submitted, waited for, discarded ÷ {what}",
            ours.over(bare), 1.15, at_most=True, sides={"fedproc": (ours, "s"), what: (bare, "s")},
        )  # fmt: skip
        ours, bare = side_by_side(1 if quick else 3, lambda: jobs.run(_BURST), lambda: plain(_BURST), warm=0)
        rates = [Sample(tuple(_BURST / value for value in sample.values)) for sample in (ours, bare)]
        yield Figure(
            f"executor_{name}_burst", f"burst of {_BURST} such jobs, jobs/s ÷ {what}, {CPUS} at a time",
            rates[0].over(rates[1]), 0.95, at_most=False,
            sides={"fedproc": (rates[0], "jobs/s"), what: (rates[1], "runs/s")},
        )  # fmt: skip


class _Jobs:
    """No-op jobs of one executor, ``CPUS`` at a time."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self._backend = backend
        self._folder = folder / "work"
        self._folder.mkdir(mode=0o755)
        backend.prepare(self._folder)
        self._number = 0

    def run(self, count: int) -> None:
        asyncio.run(self._all(count))

    def spec(self) -> Spec:
        self._number += 1
        workspace = self._folder / str(self._number)
        workspace.mkdir()
        limits = replace(LIMITS, memory=64_000_000)
        return Spec(
            job_id(f"bench-{self._number}"), ("/bin/true",), {}, self._backend.runtime, workspace, limits
        )  # fmt: skip

    async def _all(self, count: int) -> None:
        executor, turns = self._backend.executor(), asyncio.Semaphore(CPUS)

        async def one() -> None:
            async with turns:
                handle = await executor.submit(self.spec())
                seen = await executor.poll(handle, until_exit=True)
                await executor.discard(handle)
                if seen.exit_code != 0:
                    raise RuntimeError(f"a no-op job ended so: {seen}")

        await asyncio.gather(*(one() for _ in range(count)))


@contextmanager
def _plain_of(name: str, backend: Backend, jobs: _Jobs) -> Iterator[tuple[str, Plain]]:
    if isinstance(backend, DockerBackend):
        yield f"`{name} run`", _repeated(_engine_command(backend))
    elif isinstance(backend, SlurmBackend):
        os.environ["SLURM_CONF"] = str(backend.cluster.configuration)
        yield "`srun`", _repeated(["srun", "--quiet", "--mem=64M", "--chdir=/", "/bin/true"])
    elif name == "image":
        yield "`bwrap` in the same image", _repeated(_bwrap_in(Path(backend.runtime) / ROOT))
    else:
        with plain_loop() as loop:
            yield "the same `bwrap` calls", lambda count: loop.run(count, min(count, CPUS))


def _engine_command(backend: DockerBackend) -> list[str]:
    told = ["run", "--rm", "--network", "none", "--read-only", backend.runtime, "/bin/true"]
    if isinstance(backend, PodmanBackend):
        return backend.command("podman", "--remote", "--url", f"unix://{backend.socket}", *told)
    return ["docker", "-H", f"unix://{backend.socket}", *told]


def _bwrap_in(root: Path) -> list[str]:
    return ["bwrap", "--unshare-all", "--cap-drop", "ALL", "--ro-bind", str(root), "/", "--proc", "/proc", "--dev",
            "/dev", "--tmpfs", "/tmp", "/bin/true"]  # fmt: skip


def _repeated(command: list[str]) -> Plain:
    def run(count: int) -> None:
        with ThreadPoolExecutor(CPUS) as pool:
            list(pool.map(lambda _: subprocess.run(command, check=True, capture_output=True), range(count)))

    return run
