"""A host that goes for good while it has jobs: from one moment to the next its processes and its disk are no more."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
from tests.support.running import Running

from fedproc.demo.polling import wait_until


def power_off(running: Running, host: str) -> None:
    """Nothing of it says good-bye, to the centre or to its disk; returns when all of it has gone."""
    running.hosts.remove(host)
    programs = [f"{name}-{host}" for name in ("orchestrator", "runner")]
    for program in programs:
        running.federation.supervisor.signal(program, "STOP")
    shutil.rmtree(running.folder / "hosts" / host)
    for process in psutil.Process(running.pid(f"runner-{host}")).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    with ThreadPoolExecutor() as pool:  # they do not hear that they are to end, and are killed after a while
        list(pool.map(running.federation.supervisor.stop_program, programs))
    for program in programs:
        (running.folder / "run" / f"{program}.pid").unlink()
    _remove_control_groups(running, host)


def control_groups(running: Running, host: str) -> Iterator[Path]:
    """Those of a host's jobs."""
    runner = (running.folder / "hosts" / host / "runner").absolute()
    name = "fedproc-" + hashlib.sha256(str(runner).encode()).hexdigest()[:12]
    for folder, groups, _ in os.walk("/sys/fs/cgroup"):
        if Path(folder).name == name:
            yield from (Path(folder, group) for group in groups)


def _remove_control_groups(running: Running, host: str) -> None:
    """They are the machine's, which is no more."""

    def removed() -> bool:
        found = list(control_groups(running, host))
        for group in found:
            _kill_all(group)
            with suppress(OSError):  # not yet empty
                group.rmdir()
        return not found

    wait_until(removed, 30, f"the control groups of {host}'s jobs do not end")


def _kill_all(group: Path) -> None:
    with suppress(OSError):
        for pid in (group / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
