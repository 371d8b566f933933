"""A large result on its way up through a link that is cut again and again, beside curl's through a whole one."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import which
from urllib.parse import urlsplit

import httpx

from bench.figures import Figure, Missing, Result
from bench.measure import Sample, seconds_of
from bench.running import HOST, ROOT, Running
from fedproc.common.http import BearerAuth
from fedproc.contract.api.experiments import ExperimentRequest, ExperimentView
from fedproc.contract.api.files import NewUpload
from fedproc.contract.states import TERMINAL
from fedproc.demo.polling import wait_until
from fedproc.site import settings
from fedproc.site.centre.api import Transfer
from fedproc.site.centre.identity import Identity
from fedproc.site.settings import SiteSettings

_MB = 10**6
_CUTS = 10
"""of the link, while one file goes up"""
_READ = 1 << 18


@dataclass(frozen=True)
class _Bulk:
    source: Path
    size: int
    sha256: str


def figures(running: Running, folder: Path, *, quick: bool) -> Iterator[Result]:
    """How fast it goes, and what the two ends hold in memory for it."""
    if which("curl") is None:
        yield Missing("upload", "curl is not installed")
        return
    megabytes, rounds = (200, 3) if quick else (5_000, 2)
    bulk = _written(folder / "bulk.bin", megabytes)
    ours, bare, grown = [], [], []
    try:
        for _ in range(rounds):
            with _job(running) as job, _growth(running) as memory:
                with _link(_port(_settings(running).centre.api_url), bulk.size // (_CUTS + 1)) as port:
                    ours.append(seconds_of(partial(asyncio.run, _ours(_settings(running), job, bulk, port))))
            grown.append(memory[0])
            with _job(running) as job:
                token, upload = asyncio.run(_announced(running, job, bulk))
                with _link(_port(upload), 2 * bulk.size) as port:
                    bare.append(seconds_of(partial(_curl, token, upload, bulk, port)))
    finally:
        bulk.source.unlink()
    rates = [Sample(tuple(megabytes / value for value in side)) for side in (ours, bare)]
    yield Figure(
        "upload",
        f"{megabytes:,} MB of a result through a link that is cut {_CUTS} times, bytes/s ÷ by curl through a whole one",
        rates[0].over(rates[1]),
        0.8,
        at_most=False,
        sides={"fedproc": (rates[0], "MB/s"), "curl": (rates[1], "MB/s")},
    )
    yield Figure(
        "upload_memory",
        f"what the host's side and the API hold more of while {megabytes:,} MB go up, at most",
        Sample(tuple(grown)),
        64,
        at_most=True,
        unit="MiB",
    )


def _written(target: Path, megabytes: int) -> _Bulk:
    sha256 = hashlib.sha256()
    with target.open("wb") as content:
        for _ in range(megabytes):
            block = os.urandom(_MB)
            content.write(block)
            sha256.update(block)
    return _Bulk(target, megabytes * _MB, sha256.hexdigest())


@contextmanager
def _job(running: Running) -> Iterator[str]:
    """The id of one that runs and may have such an output; all is removed afterwards."""

    def now() -> ExperimentView:
        return running.researcher.experiment(experiment)

    experiment = running.researcher.run(ExperimentRequest(tool="bulk", hosts=[HOST])).id
    try:
        wait_until(lambda: now().jobs[0].state == "running", 60, "the job does not run")
        yield now().jobs[0].id
    finally:
        running.researcher.cancel(experiment)
        wait_until(lambda: now().jobs[0].state in TERMINAL, 60, "the job does not end")
        running.researcher.delete_experiment(experiment)


@contextmanager
def _growth(running: Running) -> Iterator[list[float]]:
    """By how many MiB the larger of the two ends grows at its highest."""
    ends = [Path("/proc", str(pid)) for pid in (os.getpid(), running.pid("api"))]
    for end in ends:
        (end / "clear_refs").write_text("5")  # the highest so far is what it is now
    before = [_highest(end) for end in ends]
    grown: list[float] = []
    yield grown
    grown.append(max(_highest(end) - was for end, was in zip(ends, before, strict=True)))


def _highest(process: Path) -> float:
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _new(job: str, bulk: _Bulk) -> NewUpload:
    return NewUpload(job=job, output="bulk", path="bulk.bin", size=bulk.size, sha256=bulk.sha256)


async def _ours(loaded: SiteSettings, job: str, bulk: _Bulk, port: int) -> None:
    """As the host's orchestrator sends it."""
    api = loaded.centre.api_url
    async with httpx.AsyncClient(mounts={api: _Through(port)}, trust_env=False, timeout=30) as http:
        await Transfer(api, Identity(loaded, http), http).upload(_new(job, bulk), bulk.source, lambda _: None)


def _settings(running: Running) -> SiteSettings:
    return settings.load(running.folder / f"host-{HOST}.toml")


async def _announced(running: Running, job: str, bulk: _Bulk) -> tuple[str, str]:
    """A token of the host, and where the bytes of an upload go."""
    loaded = _settings(running)
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        identity = Identity(loaded, http)
        new = _new(job, bulk).model_dump(mode="json", exclude_none=True)
        answer = await http.post(f"{loaded.centre.api_url}/uploads", json=new, auth=BearerAuth(identity.token))
        return await identity.token(), str(answer.raise_for_status().json()["upload"])


def _port(url: str) -> int:
    return urlsplit(url).port or 80


def _curl(token: str, upload: str, bulk: _Bulk, port: int) -> None:
    """All bytes in one request. Its options come by its input: a process list would show the token."""
    headers = (
        f"Authorization: Bearer {token}", "Tus-Resumable: 1.0.0", "Upload-Offset: 0", "Expect:",
        "Content-Type: application/offset+octet-stream",
    )  # fmt: skip
    options = [
        f'url = "{upload}"',
        'request = "PATCH"',
        f'upload-file = "{bulk.source}"',
        "silent",
        "show-error",
        "fail",
    ]
    options += [f'header = "{header}"' for header in headers]
    subprocess.run(["curl", "--noproxy", "*", "--config", "-"], input="\n".join(options), text=True, check=True)


# -- the link --------------------------------------------------------------------------------------


class _Through(httpx.AsyncHTTPTransport):
    """Sends to another port of the same machine."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(port=self._port)
        return await super().handle_async_request(request)


@contextmanager
def _link(target: int, whole: int) -> Iterator[int]:
    """A port that leads to ``target``; a program of its own, as a link takes nothing from those who use it."""
    command = [sys.executable, "-m", "bench.uploads", str(target), str(whole)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as program:
        assert program.stdout is not None
        try:
            yield int(program.stdout.readline())
        finally:
            program.terminate()


async def _lead(target: int, whole: int) -> None:
    """Say a port that leads to ``target``; a connection is cut once ``whole`` bytes have gone up since the last cut."""
    gone = 0

    async def up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal gone
        while (block := await reader.read(_READ)) and gone < whole:
            gone += len(block)
            writer.write(block)
            await writer.drain()
        gone = 0 if gone >= whole else gone

    async def down(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(_READ):
            writer.write(block)
            await writer.drain()

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        both = {asyncio.create_task(up(reader, far_writer)), asyncio.create_task(down(far_reader, writer))}
        _, rest = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        for end in (writer, far_writer):
            end.transport.abort()

    server = await asyncio.start_server(joined, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_lead(int(sys.argv[1]), int(sys.argv[2])))
