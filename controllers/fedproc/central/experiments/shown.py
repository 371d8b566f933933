"""What an order tells a task without datasets of those elsewhere: names that their hosts show at the centre already.

The host's rules so know the ids, versions, columns and categories that the task's outputs may repeat (``x-from`` of
``dataset`` and ``terms``): the centre learns nothing from a name that it has told, and how much is chosen among them is
counted. What a site does not show (``show_columns: false``), or is too much for an order, waits there for a person.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection

from fedproc.central.db.repositories import dataset_columns, datasets
from fedproc.central.experiments.placement import Placed
from fedproc.contract.tool.columns import named_columns
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Tool

MOST_BYTES = 256 << 10
"""of an order's names in UTF-8, with a few for each"""
_AROUND = 4
_NAMES_OF_DATA = ('"dataset"', '"terms"')


def shown_to(connection: Connection, tool: Tool, jobs: Sequence[Placed]) -> dict[str, list[str]]:
    """By task that has no datasets and whose outputs repeat names of some: the names, each once."""
    repeating = [task.name for task in tool.tasks if _repeats_names(task)]
    if not repeating:
        return {}
    names = [*_within(dict.fromkeys(name for name in _names(connection, tool, jobs) if name))]
    return dict.fromkeys(repeating, names) if names else {}


def _repeats_names(task: Task) -> bool:
    if any(entry.kind == "dataset" for entry in task.inputs):
        return False
    declared = json.dumps([output.content.schema_of_document() for output in task.outputs if output.content])
    return any(source in declared for source in _NAMES_OF_DATA)


def _names(connection: Connection, tool: Tool, jobs: Sequence[Placed]) -> Iterator[str]:
    """Ids and versions first, so that they are there whatever else is too much."""
    used = dict.fromkeys((job.host, use.id, use.version) for job in jobs for use in job.datasets)
    labels = datasets.labels(connection, {host for host, _, _ in used})
    for host, dataset, version in used:
        yield from (dataset, version or "", labels.get((host, dataset), ""))
    named = {column.name for job in jobs for column in named_columns(tool.parameters, job.parameters)}
    for host, dataset, version in used if named else ():
        for page in dataset_columns.of_dataset(connection, host, dataset, version or ""):
            for column in page.columns:
                if column["name"] in named:
                    yield from (column["name"], column.get("unit", ""), *column.get("values", ()))


def _within(names: Iterable[str]) -> Iterator[str]:
    size = 0
    for name in names:
        size += len(name.encode()) + _AROUND
        if size > MOST_BYTES:
            return
        yield name
