"""What the hosts offer: found by what it is, a page at a time, and one dataset with its columns (D6.1)."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Path, Query, Request
from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fedproc.central.api import dcat
from fedproc.central.api.deps import AppState, Researcher, app_state, bearer_token
from fedproc.central.api.routes.common import answer, answer_list, router
from fedproc.central.api.views import dataset_detail, dataset_view
from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import dataset_columns, datasets
from fedproc.central.grants.views import grant_view
from fedproc.common.errors import InvalidInputError, NotFoundError
from fedproc.common.text import did_you_mean
from fedproc.contract.api.base import Line
from fedproc.contract.api.grants import ResearcherGrant
from fedproc.contract.api.hosts import FILTERS, DatasetDetail, DatasetFilters, DatasetView, FilterValue
from fedproc.contract.ids import DATASET_PATTERN

routes = router("hosts")

_DATASETS = TypeAdapter(list[DatasetView])
_LINKED_DATA: dict[int | str, dict[str, Any]] = {200: {"content": {dcat.MEDIA_TYPE: {"schema": {"type": "object"}}}}}
DatasetPath = Annotated[str, Path(pattern=DATASET_PATTERN, description="HOST:id")]
_MOST_VALUES, _MOST_WORDS = 10, 8
"""of modality, body_part, column and kind together, and of text: each is looked for in every row"""
_GRANT_SECONDS = 30.0
"""that a provider is waited for"""
Value = Annotated[Line, Query(max_length=200)]
Cursor = Annotated[str | None, Query(pattern=DATASET_PATTERN, description="the last dataset of the page before")]


@routes.get("/datasets", response_model=list[DatasetView])
def list_datasets(
    request: Request,
    caller: Researcher,
    host: Annotated[Line | None, Query(max_length=31, description="only of this host")] = None,
    modality: Annotated[
        list[Value] | None, Query(max_length=_MOST_VALUES, description="images of all these, such as CT")
    ] = None,
    body_part: Annotated[
        list[Value] | None, Query(max_length=_MOST_VALUES, description="images of all these, such as BREAST")
    ] = None,
    kind: Annotated[Literal["tables", "images"] | None, Query(description="only what has some")] = None,
    column: Annotated[
        list[Value] | None, Query(max_length=_MOST_VALUES, description="tables with all these columns")
    ] = None,
    text: Annotated[
        Line | None, Query(max_length=200, description="each of its words, 8 at most, in id, label or description")
    ] = None,
    catalogue: Annotated[Line | None, Query(max_length=500, description="those of this entry in a catalogue")] = None,
    persons: Annotated[int | None, Query(ge=1, le=2**62, description="images of at least so many")] = None,
    available: Annotated[bool, Query(description="only where the host is heard of")] = False,
    id: Annotated[
        list[Annotated[str, Query(pattern=DATASET_PATTERN)]] | None,
        Query(max_length=500, description="only these (HOST:id)"),
    ] = None,
    count: Annotated[bool, Query(description="the header Total-Count: how many there are on all pages")] = False,
    sort: Annotated[
        Literal["host", "-host", "persons", "-persons", "files", "-files", "size", "-size"] | None,
        Query(description="with - downwards; pages then follow by offset, not by cursor"),
    ] = None,
    offset: Annotated[int, Query(ge=0, le=2**31, description="with sort: how many are passed over")] = 0,
    cursor: Cursor = None,
    limit: Annotated[int | None, Query(ge=1, le=1000, description="all unless given; Link leads on")] = None,
) -> Response:
    """What the active hosts offer, by their last heartbeats, in the order of host and id unless sorted.

    All filters hold together, without regard to case, 10 values of them at most; ``Dataset-Filters`` names those that
    this API knows. With ``limit`` the ``Link`` header leads on: a page begins behind the dataset with which the one
    before ended, whatever came or went meanwhile.
    """
    app = app_state(request)
    given = {"modality": modality, "body_part": body_part, "kind": [kind] if kind else None, "column": column}
    terms = [datasets.term(name, value) for name, values in given.items() for value in values or ()]
    _check_sizes(terms, text or "")
    since = time.time() - app.heartbeat_timeout if available else None
    wanted = datasets.Wanted(host, terms, text, catalogue, persons, since, id or ())
    headers = {"Dataset-Filters": ", ".join(FILTERS)}
    with read_transaction(app.engine) as connection:
        if sort is None:
            rows = datasets.page(connection, wanted, cursor, None if limit is None else limit + 1)
            total = datasets.count(connection, wanted) if count else None
        else:
            rows, total = datasets.sorted_page(connection, wanted, sort, offset, limit)
    if count:
        headers["Total-Count"] = str(total)
    views = [dataset_view(row, app.heartbeat_timeout) for row in rows[:limit]]
    if sort is None and limit is not None and len(rows) > limit:
        headers["Link"] = f'<{_next(request, app, views[-1].id)}>; rel="next"'
    return answer_list(_DATASETS, views, headers)


def _check_sizes(terms: list[str], text: str) -> None:
    for what, found, most in (
        ("values of modality, body_part, column and kind together", len(set(terms)), _MOST_VALUES),
        ("words of text", len(datasets.terms_of_text(text)), _MOST_WORDS),
    ):
        if found > most:
            raise InvalidInputError(
                f"there are {found} {what}, and one request looks for {most} at most: ask with fewer, and look for the"
                " others in what it gives",
                code="filters.many",
            )


@routes.get("/datasets/filters", response_model=DatasetFilters)
async def list_filters(request: Request, caller: Researcher) -> Response:
    """The values by which datasets can be chosen, each with their number, as it was within the last half minute."""
    app = app_state(request)
    return answer(await app.dataset_filters.get(lambda: run_in_threadpool(_filters, app)))


def _filters(app: AppState) -> DatasetFilters:
    with read_transaction(app.engine) as connection:
        found = datasets.filters(connection)
    values = {
        kind: [FilterValue(value=value, datasets=number) for value, number in each] for kind, each in found.items()
    }
    return DatasetFilters(**values)


def _next(request: Request, app: AppState, last: str) -> str:
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return app.url(f"{request.url.path}?{urlencode([*query, ('cursor', last)])}")


@routes.get("/datasets/{dataset_id}", response_model=DatasetDetail, responses=_LINKED_DATA)
def show_dataset(request: Request, dataset_id: DatasetPath, caller: Researcher) -> Response:
    """One dataset (``HOST:id``) with the columns, types, units and categories that its description says.

    ``Accept: application/ld+json`` gives it as EUCAIM's DCAT-AP v2.0 has it.
    """
    app = app_state(request)
    detail = _detail(app, dataset_id)
    if dcat.MEDIA_TYPE not in request.headers.get("accept", ""):
        return answer(detail, headers={"Vary": "Accept"})
    return dcat.answer(dcat.dataset_document(detail, app.settings))


@routes.get("/datasets/{dataset_id}/grant", response_model=ResearcherGrant)
async def show_grant(request: Request, dataset_id: DatasetPath, caller: Researcher) -> Response:
    """What the caller's own grant of a dataset says: project, permit, purpose, and how long it counts.

    Its provider is asked now. Nothing follows from it: it is asked again when an experiment starts.
    """
    app = app_state(request)
    await run_in_threadpool(_detail, app, dataset_id)
    checks = app.grant_checks
    found = await checks.ask_now(caller.sub, bearer_token(request), [dataset_id], _GRANT_SECONDS)
    view = grant_view(dataset_id, found.get(dataset_id), checks.ask_at(dataset_id))
    return answer(view, headers={"Cache-Control": "no-store"})


@routes.get("/data/catalogue", response_class=Response, responses=_LINKED_DATA)
def get_catalogue(
    request: Request,
    caller: Researcher,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """All that the hosts offer as a catalogue (DCAT-AP), as JSON-LD, a page at a time: ``Link`` leads on."""
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        rows = datasets.page(connection, datasets.Wanted(), cursor, limit + 1)
        pages = [dataset_columns.of_dataset(connection, row.host, row.id, row.version) for row in rows[:limit]]
    views = [dataset_view(row, app.heartbeat_timeout) for row in rows[:limit]]
    details = [dataset_detail(view, found) for view, found in zip(views, pages, strict=True)]
    headers = {"Link": f'<{_next(request, app, views[-1].id)}>; rel="next"'} if len(rows) > limit else None
    return dcat.answer(dcat.catalogue_document(details, app.settings), headers)


def _detail(app: AppState, dataset: str) -> DatasetDetail:
    host, _, name = dataset.partition(":")
    with read_transaction(app.engine) as connection:
        row = datasets.one(connection, host, name)
        if row is None:
            known = [f"{host}:{each}" for each in datasets.ids_of(connection, host)]
            near = did_you_mean(dataset, known) or ";"
            raise NotFoundError(f"there is no dataset {dataset}{near} fedproc data lists what the hosts offer")
        pages = dataset_columns.of_dataset(connection, host, name, row.version)
    return dataset_detail(dataset_view(row, app.heartbeat_timeout), pages)
