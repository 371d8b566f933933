"""Datasets: what the hosts offer, and the columns of one."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from fedproc.central.api.pages.access import Api, pages
from fedproc.central.api.pages.paging import Paging
from fedproc.central.api.pages.rendering import page, segment
from fedproc.contract.api.hosts import DatasetDetail, DatasetView
from fedproc.contract.api.tools import TaskView

routes = pages()

_PART = 100


@routes.get("/dashboard/datasets")
async def show_datasets(
    request: Request,
    api: Api,
    text: Annotated[str, Query(max_length=100)] = "",
    host: Annotated[str, Query(max_length=31)] = "",
    part: Annotated[int, Query(alias="page", ge=1, le=10_000)] = 1,
) -> Response:
    """Those that fit: every word of ``text`` is in the id, the description, or the id of its entry in a catalogue."""
    everything = await api.many(DatasetView, "/datasets")
    fitting = [dataset for dataset in everything if _fits(dataset, text) and host in {"", dataset.host}]
    paging = Paging(part, _PART, len(fitting), "/dashboard/datasets", {"text": text, "host": host})
    values = {
        "datasets": fitting[(part - 1) * _PART : part * _PART],
        "paging": paging,
        "hosts": sorted({dataset.host for dataset in everything}),
        "total": len(everything),
        "text": text,
        "host": host,
    }
    return page(request, "datasets.html", values)


def _fits(dataset: DatasetView, text: str) -> bool:
    place = f"{dataset.id} {dataset.description} {dataset.catalogue or ''}".lower()
    return all(word in place for word in text.lower().split())


@routes.get("/dashboard/datasets/{dataset}")
async def show_dataset(request: Request, dataset: str, api: Api) -> Response:
    """One with its columns, and the tools that take datasets."""
    found = await api.one(DatasetDetail, f"/datasets/{segment(dataset)}")
    tasks = await api.many(TaskView, "/tools/tasks")
    tools = sorted({task.tool for task in tasks if any(entry["kind"] == "dataset" for entry in task.inputs)})
    return page(request, "dataset.html", {"dataset": found, "tools": tools})
