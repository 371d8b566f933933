"""The ``bwrap`` calls of no-op jobs, and nothing else: what the sandbox executor is measured against.

As a program it serves one caller: for each line ``CALLS AT_ONCE`` it makes that many calls and answers with a line.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from fedproc.site.executors.base import ENVIRONMENT, INPUT, SOURCE, Limits, Mount, Spec
from fedproc.site.executors.confinement.etc import make_etc
from fedproc.site.executors.confinement.seccomp import make_filter
from fedproc.site.executors.runner.bubblewrap import sandbox_for
from fedproc.site.executors.runner.order import Order, order_of
from fedproc.site.executors.sandbox import request_of
from fedproc.site.jobs.workspace import SPEC

_USER = 60999
"""no job's: those of runners begin above"""


class PlainLoop:
    """The program, kept running, so that its start is no part of what is measured."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, calls: int, at_once: int) -> None:
        """Return when that many calls were made, so many at a time. Raises RuntimeError if one fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{calls} {at_once}\n")
        self._process.stdin.flush()
        if not self._process.stdout.readline():
            raise RuntimeError("the plain loop of bwrap calls failed")


@contextmanager
def plain_loop() -> Iterator[PlainLoop]:
    """The loop for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="fedproc-bench-") as folder:
        command = [sys.executable, "-m", "bench.plain_bwrap", folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            yield PlainLoop(process)
            assert process.stdin is not None
            process.stdin.close()


def _serve(folder: Path) -> None:
    order = _order(folder)
    make_etc(folder / "etc")
    seccomp = make_filter()
    status = os.open(folder / "status", os.O_CREAT | os.O_WRONLY)
    _become_a_user(folder)
    for line in sys.stdin:
        calls, at_once = map(int, line.split())
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(lambda _: _call(order, folder / "etc", seccomp, status), range(calls)))
        print("done", flush=True)


def _call(order: Order, etc: Path, seccomp: bytes, status: int) -> None:
    sandbox = sandbox_for(order, etc=etc, staging=False, seccomp=seccomp, status=status)
    try:
        command = sandbox.command(order.command)
        subprocess.run(command, check=True, env={}, pass_fds=[status, *sandbox.descriptors])
    finally:
        sandbox.close()


def _order(folder: Path) -> Order:
    """As a host's orchestrator makes it of the tool ``noop``."""
    for name in ("source", "input", "spec", "environment", "work"):
        (folder / name).mkdir()
    fixed = {"source": SOURCE, "input": INPUT, "spec": SPEC, "environment": ENVIRONMENT}
    spec = Spec(
        job="j-noop",
        command=("/bin/true",),
        environment={},
        runtime="",
        workspace=folder / "work",
        limits=Limits(cpus=1, memory=64_000_000, disk=16_000_000, pids=16),
        mounts=tuple(Mount(folder / name, target) for name, target in fixed.items()),
    )
    return order_of(request_of(spec, []))


def _become_a_user(folder: Path) -> None:
    """As the runner does with jobs where it is root."""
    folder.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(folder / "work", _USER, _USER)
        os.setgroups([])
        os.setresgid(_USER, _USER, _USER)
        os.setresuid(_USER, _USER, _USER)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
