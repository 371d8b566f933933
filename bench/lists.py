"""The dashboard's lists of a large federation, beside those of a small one: 1,000 hosts with 100 datasets each, 50,000
experiments of one researcher."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Connection, insert
from tests.support.central_api import Federation
from tests.support.issuer import TestIssuer

from bench.figures import Figure
from bench.measure import side_by_side
from fedproc.central.db.engine import write_transaction
from fedproc.central.db.repositories import datasets
from fedproc.central.db.schema import dataset_terms, experiments, hosts
from fedproc.contract.ids import new_id
from fedproc.contract.times import now
from fedproc.contract.wire.datasets import OfferedDataset
from fedproc.contract.wire.messages import Capacity, Heartbeat
from fedproc.contract.wire.open_jobs import open_jobs_digest
from fedproc.demo.polling import free_ports

MOST = 0.3
"""seconds that a page may take"""
PAGES = {
    "hosts": "/dashboard/hosts",
    "hosts_trouble": "/dashboard/hosts?show=trouble&page=2",
    "datasets": "/dashboard/datasets",
    "datasets_found": "/dashboard/datasets?modality=CT&text=cohort+7&sort=-persons&page=3",
    "experiments": "/dashboard/experiments",
    "experiments_found": "/dashboard/experiments?text=run+01&sort=-label&page=5",
    "start": "/dashboard",
    "wizard": "/dashboard/new?tool=count&dataset=H0500:d007",
    "operate": "/dashboard/operate",
}


@dataclass(frozen=True)
class Size:
    hosts: int
    datasets: int
    experiments: int


SMALL = Size(4, 10, 50)


def figures(*, quick: bool) -> Iterator[Figure]:
    """Each page: its time in the large federation, and the ratio to the same page of the small one."""
    large = Size(200, 50, 5_000) if quick else Size(1_000, 100, 50_000)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fedproc-lists-")))
        issuer = stack.enter_context(TestIssuer())
        issuer.signs_in = ("rosa", "researcher", "operator")
        few, many = (stack.enter_context(_Dashboard(folder / str(each.hosts), issuer, each)) for each in (SMALL, large))
        for name, path in PAGES.items():
            yield _figure(name, path, few, many, large)


def _figure(name: str, path: str, few: httpx.Client, many: httpx.Client, size: Size) -> Figure:
    a, b = side_by_side(5, lambda: _get(few, path), lambda: _get(many, path))
    sides = {"large": (b.times(1000), "ms"), "4 hosts": (a.times(1000), "ms"), "ratio": (b.over(a), "")}
    there = f"{size.hosts:,} hosts, {size.hosts * size.datasets:,} datasets, {size.experiments:,} experiments"
    text = f"page {name} with {there}"
    return Figure(f"page_{name}", text, b.times(1000), MOST * 1000, at_most=True, unit="ms", sides=sides)


def _get(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"


class _Dashboard:
    def __init__(self, folder: Path, issuer: TestIssuer, size: Size) -> None:
        folder.mkdir()
        (port,) = free_ports(1)
        quota = {"requests_per_minute": 10**6}
        own: dict[str, Any] = {"port": port, "public_url": f"http://127.0.0.1:{port}", "quota": quota}
        self._federation = Federation(f"sqlite:///{folder}/central.sqlite", folder, issuer, **own)
        self._size = size

    def __enter__(self) -> httpx.Client:
        self._federation.__enter__()
        self._federation.enrol_everyone()
        with write_transaction(self._federation.engine) as connection:
            _fill(connection, self._size)
        self._client = httpx.Client(base_url=self._federation.url, follow_redirects=True, timeout=120, trust_env=False)
        self._client.get("/dashboard/sign-in")
        return self._client

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._federation.__exit__()


def _fill(connection: Connection, size: Size) -> None:
    for number in range(size.hosts):
        _host(connection, f"H{number:04}", size.datasets)
    usual = {"owner": "rosa", "owner_name": "Rosa", "version": "1.0.0", "digest": "sha256:" + "0" * 64, "request": {}}
    rows = [
        {
            **usual, "id": new_id("e"), "label": f"run {number:05d}", "tool": "count", "state": "succeeded",
            "created": float(number), "ended": float(number), "cancel_requested": False,
        }
        for number in range(size.experiments)
    ]  # fmt: skip
    connection.execute(insert(experiments), rows)


def _host(connection: Connection, host: str, count: int) -> None:
    sets = tuple(
        OfferedDataset(id=f"d{each:03}", version="f" * 64, description=f"cohort {each} of {host}, " + "x" * 60)
        for each in range(count)
    )
    beat = Heartbeat(
        host=host, epoch="one", time=now(), interval=10, software="0.1.0", datasets=sets, executors=("sandbox",),
        capacity=Capacity(cpus=4, cpus_free=4, memory=8 << 30, memory_free=8 << 30, disk=1 << 40, disk_free=1 << 40),
        tools=tuple({"id": each, "digest": None} for each in ("count", "train")), open_jobs_digest=open_jobs_digest([]),
    )  # fmt: skip
    row = {
        "id": host,
        "site": f"site of {host}",
        "roles": ["data"],
        "public_key": {},
        "enrolled": 0.0,
        "heard": time.time() + 3600,
    }
    connection.execute(
        insert(hosts).values(**row, heartbeat=beat.model_dump(mode="json", exclude={"columns", "log", "datasets"}))
    )
    datasets.offer(connection, host, sets, None)
    names = ("modality=ct", "body_part=breast", "kind=images")
    connection.execute(insert(dataset_terms), [{"term": n, "host": host, "dataset": s.id} for s in sets for n in names])
