"""Ways to hold a job in a phase, as the world outside would."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.running import Running

from fedproc.demo.polling import wait_until


def site(running: Running, host: str, act: str) -> None:
    running.site(host, "POST", f"/{act}")
    accepting = act == "start"
    wait_until(lambda: running.accepting(host) is accepting, 90, f"{host} does not {act}")


@contextmanager
def stopped(running: Running, host: str) -> Iterator[None]:
    site(running, host, "stop")
    try:
        yield
    finally:
        site(running, host, "start")


@contextmanager
def lost_files(running: Running) -> Iterator[None]:
    """The centre's folder of files is away: nothing can be uploaded or fetched."""
    folder: Path = running.folder / "central" / "files"
    aside = folder.with_name("files.aside")
    folder.rename(aside)
    try:
        yield
    finally:
        if folder.exists():
            for path in folder.iterdir():
                path.rename(aside / path.name)
            folder.rmdir()
        aside.rename(folder)


@contextmanager
def environment_being_built(running: Running, requirements: Path) -> Iterator[None]:
    """As if another process were building the environment of ``requirements``: it holds the build's lock."""
    key = hashlib.sha256(requirements.read_bytes() + b"/usr/bin/python3").hexdigest()
    place = running.cache / "environments" / key
    place.mkdir(parents=True, exist_ok=True)
    (place / "complete").unlink(missing_ok=True)
    with Path(f"{place}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            shutil.rmtree(place)


@contextmanager
def full(running: Running, host: str) -> Iterator[None]:
    """All CPUs of the host are taken."""
    takers = [running.start("host-acceptance", hosts=[host], seconds=120) for _ in range(8)]
    for experiment in takers:
        running.wait_for(experiment, f"look@{host}", "running")
    try:
        yield
    finally:
        for experiment in takers:
            running.researcher.cancel(experiment.id)
