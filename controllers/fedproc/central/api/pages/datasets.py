"""Datasets: what the hosts offer, found by what it is, and one with its columns, its images, and who may use it."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from fedproc.central.api.deps import app_state
from fedproc.central.api.pages.access import Api, SignedIn, pages
from fedproc.central.api.pages.choices import takes_datasets, unfit
from fedproc.central.api.pages.paging import Paging
from fedproc.central.api.pages.rendering import page, segment
from fedproc.central.auth.sessions import Session
from fedproc.central.grants.views import grant_view, obstacles
from fedproc.contract.api.grants import ResearcherGrant
from fedproc.contract.api.hosts import DatasetDetail, DatasetFilters, DatasetView
from fedproc.contract.api.tools import TaskView
from fedproc.contract.ids import DATASET_PATTERN

routes = pages()

_PART = 100
GRANT_SECONDS = 3.0
"""that a page waits for who is asked about grants; they are asked again when an experiment starts"""
_SORTS = "^-?(host|persons|files|size)$"
Word = Annotated[str, Query(max_length=200)]


@routes.get("/dashboard/datasets")
async def show_datasets(
    request: Request,
    api: Api,
    session: SignedIn,
    text: Word = "",
    host: Annotated[str, Query(max_length=31)] = "",
    modality: Word = "",
    body_part: Word = "",
    kind: Annotated[str, Query(pattern="^(tables|images)?$")] = "",
    persons: Annotated[str, Query(pattern="^[0-9]{0,9}$")] = "",
    catalogue: Annotated[str, Query(max_length=500)] = "",
    tool: Annotated[str, Query(max_length=64)] = "",
    chosen: Annotated[list[str] | None, Query(max_length=500)] = None,
    sort: Annotated[str, Query(pattern=_SORTS)] = "host",
    part: Annotated[int, Query(alias="page", ge=1, le=100_000)] = 1,
) -> Response:
    """Those that fit the filters, found, sorted and counted by the database.

    ``tool`` and ``chosen`` come from the form of a new experiment, and lead back to it.
    """
    filters = {
        "text": text, "host": host, "modality": modality, "body_part": body_part, "kind": kind,
        "persons": persons.lstrip("0"), "catalogue": catalogue,
    }  # fmt: skip
    known = [each for each in chosen or () if re.fullmatch(DATASET_PATTERN, each)]
    found, fitting = await api.counted(
        DatasetView, "/datasets", **filters, sort=sort, offset=(part - 1) * _PART or None, limit=_PART
    )
    carried = {**filters, "tool": tool, "chosen": known, "sort": sort}
    checks = app_state(request).grant_checks
    guarded = checks.guarded([each.id for each in found])
    asked = await checks.ask_now(session.subject, session.tokens.access, sorted(guarded), GRANT_SECONDS)
    values = {
        "datasets": found,
        "paging": Paging(part, _PART, fitting, "/dashboard/datasets", carried),
        "ungranted": obstacles(asked),
        "choices": await api.one(DatasetFilters, "/datasets/filters"),
        "filtered": any(filters.values()),
        "filters": filters,
        "tool": tool,
        "chosen": known,
        "sort": sort,
    }
    return page(request, "datasets.html", values)


@routes.get("/dashboard/datasets/{dataset}")
async def show_dataset(request: Request, dataset: str, api: Api, session: SignedIn) -> Response:
    """One with its columns and images, the tools that read what it holds, and whether its reader may use it."""
    found = await api.one(DatasetDetail, f"/datasets/{segment(dataset)}")
    tasks = await api.many(TaskView, "/tools/tasks")
    by_tool = {task.tool: [each for each in tasks if each.tool == task.tool] for task in tasks}
    tools = [tool for tool in sorted(by_tool) if takes_datasets(by_tool[tool]) and not unfit(by_tool[tool], [found])]
    values = {"dataset": found, "tools": tools, "standing": await _standing(request, session, found.id)}
    return page(request, "dataset.html", values)


async def _standing(request: Request, session: Session, dataset: str) -> ResearcherGrant | None:
    """None of one that is open to everybody here."""
    checks = app_state(request).grant_checks
    if not checks.guarded([dataset]):
        return None
    found = await checks.ask_now(session.subject, session.tokens.access, [dataset], GRANT_SECONDS)
    return grant_view(dataset, found[dataset], checks.ask_at(dataset))
