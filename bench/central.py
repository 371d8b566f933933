"""The API over a small and a large database, and beside a bare route."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import tomli_w
from tests.support.postgres import Postgres

from bench.figures import Figure, Missing, Result
from bench.filling import fill, snapshot
from bench.measure import Sample, side_by_side
from bench.running import HOST, Running
from fedproc.client.api import Client
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.demo.polling import free_ports, wait_until

_FEW, _MANY = 1_000, 100_000
_BLOCK = 25
"""requests that are timed together: one alone is too short"""


def figures(running: Running, folder: Path, *, quick: bool) -> Iterator[Result]:
    """Of both databases, and of reading one job."""
    experiment = running.job()
    source = snapshot(running.folder / "central" / "central.sqlite", folder / "source.sqlite")
    many = _MANY // 10 if quick else _MANY
    rounds = 40 if quick else 200

    def sqlite(count: int) -> str:
        url = f"sqlite:///{folder}/{count}.sqlite"
        fill(url, source, experiment, count)
        return url

    with _apis(running, folder / "sqlite", sqlite(_FEW), sqlite(many)) as (few, large):
        yield from _posts("sqlite", "SQLite", few, large, many, rounds)
        yield _get(running, large, experiment, folder, rounds // 4)
    try:
        with Postgres.running(fsync=True) as cluster:
            yield from _on_postgres(running, cluster, folder, source, experiment, many, rounds)
    except RuntimeError as error:
        yield Missing("post_postgres", str(error))


def _on_postgres(
    running: Running, cluster: Postgres, folder: Path, source: Path, experiment: str, many: int, rounds: int
) -> Iterator[Result]:
    urls = cluster.new_database(), cluster.new_database()
    for url, count in zip(urls, (_FEW, many), strict=True):
        fill(url, source, experiment, count)
    with _apis(running, folder / "postgres", *urls) as (few, large):
        yield from _posts("postgres", "PostgreSQL", few, large, many, rounds)


@contextmanager
def _apis(running: Running, folder: Path, *databases: str) -> Iterator[list[Client]]:
    """An API for each database, with a client that is signed in; everything else is that of the federation."""
    settings = tomllib.loads((running.folder / "central.toml").read_text())
    with ExitStack() as stack:
        clients = []
        for number, database in enumerate(databases):
            (port,) = free_ports(1)
            place = folder / str(number)
            place.mkdir(parents=True)
            quota = {"open_experiments": 10**6, "requests_per_minute": 10**7}
            own = {
                "quota": quota,
                "database": database,
                "files": f"{place}/files",
                "runtime": f"{place}/run",
                "listen_port": port,
            }
            path = place / "central.toml"
            path.write_text(tomli_w.dumps({**settings, **own, "public_url": f"http://127.0.0.1:{port}"}))
            stack.enter_context(_process("fedproc.cli", "api", "--config", str(path)))
            clients.append(running.client_at(f"http://127.0.0.1:{port}"))
            wait_until(lambda at=port: _answers(at), 60, "an API does not start")  # type: ignore[misc]
            clients[-1].sign_in()
        yield clients


@contextmanager
def _process(module: str, *arguments: str) -> Iterator[None]:
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status > 0
    except OSError:
        return False
    finally:
        connection.close()


def _posts(name: str, database: str, few: Client, large: Client, many: int, rounds: int) -> Iterator[Figure]:
    request = ExperimentRequest(tool="noop", hosts=[HOST])
    a, b = side_by_side(rounds, lambda: few.run(request), lambda: large.run(request), warm=20)
    yield Figure(
        f"post_{name}",
        f"`POST /experiments` with {many:,} experiments stored, {database}",
        b.times(1000),
        10,
        at_most=True,
        unit="ms",
    )
    yield Figure(
        f"post_growth_{name}",
        f"its cost with {many:,} experiments stored ÷ with {_FEW:,}, {database}",
        b.over(a),
        1.2,
        at_most=True,
        sides={f"{many:,}": (b.times(1000), "ms"), f"{_FEW:,}": (a.times(1000), "ms")},
    )


def _get(running: Running, api: Client, experiment: str, folder: Path, rounds: int) -> Figure:
    job = running.researcher.experiment(experiment).jobs[0].id
    path = f"/experiments/{experiment}/jobs/{job}"
    (port,) = free_ports(1)
    ours = _Getter(int(api.url.rpartition(":")[2]), path, api.sign_in().access_token)
    (folder / "answer.json").write_bytes(ours.get())
    with _process("bench.bare", str(port), str(folder / "answer.json")):
        wait_until(lambda: _answers(port), 30, "the bare route does not start")
        bare = _Getter(port, path, api.sign_in().access_token)
        assert bare.get() == ours.get()
        a, b = side_by_side(rounds, ours.block, bare.block, warm=4)
    rates = [Sample(tuple(_BLOCK / seconds for seconds in sample.values)) for sample in (a, b)]
    return Figure(
        "get_job",
        "GET of one job, requests/s ÷ a bare FastAPI route that returns the same bytes",
        rates[0].over(rates[1]),
        0.5,
        at_most=False,
        sides={"fedproc": (rates[0], "/s"), "bare": (rates[1], "/s")},
    )


class _Getter:
    """One kept connection, and one request again and again."""

    def __init__(self, port: int, path: str, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._path = path
        self._headers = {"Authorization": f"Bearer {token}"}

    def get(self) -> bytes:
        self._connection.request("GET", self._path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return body

    def block(self) -> None:
        for _ in range(_BLOCK):
            self.get()
