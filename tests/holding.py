"""Ways to hold a job in a phase, as the world outside would."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from fedproc.demo.waiting import wait_until
from tests.running import TOOLS, Running


def site(running: Running, host: str, act: str) -> None:
    transport = httpx.HTTPTransport(uds=str(running.folder / "hosts" / host / "site.sock"))
    with httpx.Client(transport=transport, base_url="http://site") as http:
        assert http.post(f"/{act}").status_code == 200
    accepting = act == "start"
    wait_until(lambda: running.accepting(host) is accepting, 10, f"{host} does not {act}")


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
def environment_being_built(running: Running) -> Iterator[None]:
    """As if another process were building the environment of the tool ``letter``: it holds the build's lock."""
    content = (TOOLS / "letter" / "requirements.lock").read_bytes()
    place = running.cache / "environments" / hashlib.sha256(content + b"/usr/bin/python3").hexdigest()
    place.mkdir(parents=True, exist_ok=True)
    (place / "complete").unlink(missing_ok=True)
    with Path(f"{place}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            shutil.rmtree(place)
