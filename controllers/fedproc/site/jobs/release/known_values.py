"""What is known of a job before its tool runs, for outputs that repeat it (``x-from``)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedproc.common.files import read_regular
from fedproc.contract.tool.task import Task
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.policy.engine.known import CATEGORIES, COLUMNS, Known, columns_of
from fedproc.site.policy.engine.strict_json import scalars

_LARGEST = 16 << 20
"""bytes of an input that is looked into"""


def known_of(services: Services, record: JobRecord, task: Task) -> Known:
    """Each source as docs/tools.md has it; nothing is read before a schema asks for it."""
    order = record.order
    return Known(
        {
            "parameters": lambda: scalars(order.parameters),
            "steps": lambda: scalars(order.parameters),
            "order": lambda: _of_order(services, record),
            "dataset": lambda: _of_datasets(services, record),
            "inputs": lambda: _of_inputs(services.workspace(order.job).input, task),
            COLUMNS: lambda: columns_of(order.parameters),
            CATEGORIES: lambda: _categories(services, record, task),
        },
        elsewhere=not order.datasets,
    )


def _categories(services: Services, record: JobRecord, task: Task) -> Iterator[Any]:
    yield from _of_datasets(services, record)
    yield from _of_inputs(services.workspace(record.order.job).input, task)


def _of_order(services: Services, record: JobRecord) -> Iterator[Any]:
    order = record.order
    yield from (order.job, order.experiment, order.task, order.tool.id, order.tool.version, order.tool.digest)
    yield services.settings.host
    yield from (host for hosts in order.hosts.values() for host in hosts)


def _of_datasets(services: Services, record: JobRecord) -> Iterator[Any]:
    """Of a job without any: what the centre tells of the experiment's others, and so has already."""
    if not record.order.datasets:
        yield from record.order.shown
    for use in record.order.datasets:
        yield from (use.id, str(use.version))
        entry = services.settings.datasets.get(use.id)
        if entry is not None and entry.source == "folder":
            yield from _described(entry.path / "dataset.json")


def _described(path: Path) -> Iterator[Any]:
    """Id and version, and of each column name, unit and categories."""
    described = _read(path)
    if not isinstance(described, dict):
        return
    yield from (str(described.get(key, "")) for key in ("id", "version"))
    columns = described.get("columns")
    for column in columns if isinstance(columns, list) else []:
        if isinstance(column, dict):
            yield from scalars([column.get(key) for key in ("name", "unit", "values")])


def _of_inputs(folder: Path, task: Task) -> Iterator[Any]:
    """What other tasks of the experiment released: the centre has it already."""
    for declared in task.inputs:
        if declared.kind == "output":
            for path in sorted((folder / declared.name).rglob("*.json")):
                yield from scalars(_read(path))


def _read(path: Path) -> Any:
    with suppress(OSError, ValueError, RecursionError):
        if path.stat().st_size <= _LARGEST:
            return json.loads(read_regular(path))
    return None
