"""An experiment as one file: for print, for a publication's supplement, for the archive; it loads nothing.

Pictures among the results stand in it for who may have their bytes; other results by name, size and sha256.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from fastapi import Request
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, Response

from fedproc.central.api.deps import AppState, app_state
from fedproc.central.api.pages import curves, timeline
from fedproc.central.api.pages.access import Api, SignedIn, pages
from fedproc.central.api.pages.assets import text_of
from fedproc.central.api.pages.backend import Backend
from fedproc.central.api.pages.experiments import PICTURES, facts
from fedproc.central.api.pages.rendering import fragment, segment
from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import experiments
from fedproc.contract.api.experiments import ExperimentView
from fedproc.contract.api.files import FileView

routes = pages()

_BATCH = 2000
_MOST_POINTS = 50_000
_LARGEST_PICTURE = 1 << 20
_LARGEST_TOGETHER = 8 << 20
_MOST_FILES = 5_000
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""for a browser that shows it in place of keeping it: no script, and no address of this dashboard"""


@routes.get("/dashboard/experiments/{experiment}/file")
async def save(request: Request, experiment: str, api: Api, session: SignedIn) -> Response:
    """The page of an experiment as one file of HTML, as it stands now."""
    found = await api.one(ExperimentView, f"/experiments/{segment(experiment)}")
    values = await facts(api, found, session.subject, app_state(request))
    results = await api.many(FileView, f"/experiments/{found.id}/results", limit=_MOST_FILES)
    points = await run_in_threadpool(_points, app_state(request), found.id)
    drawn = {
        **values,
        "picture": timeline.of(found),
        "results": results,
        "charts": curves.charts(points, values["metrics"]),  # type: ignore[arg-type]
        "embedded": await _embedded(api, results) if values["own"] else [],
        "styles": text_of("pico.min.css") + text_of("dashboard.css"),
    }
    html = await run_in_threadpool(fragment, request, "saved.html", drawn)
    name = f"attachment; filename={found.id}.html"
    return HTMLResponse(html, headers={"Content-Disposition": name, "Content-Security-Policy": _POLICY})


def _points(app: AppState, experiment: str) -> list[curves.Point]:
    found: list[curves.Point] = []
    for row in _events(app, experiment):
        if row.kind == "metrics":
            found.append(curves.Point(row.task, row.host, row.time, row.data))
            if len(found) == _MOST_POINTS:
                return [*found, *_last(app, experiment)]
    return found


def _last(app: AppState, experiment: str) -> list[curves.Point]:
    """Of each job, so that every curve has its end."""
    with read_transaction(app.engine) as connection:
        rows = experiments.last_metrics(connection, experiment)
    return [curves.Point(row.task, row.host, row.time, row.data) for row in rows]


def _events(app: AppState, experiment: str) -> Iterator[Row[Any]]:
    """All of them, in parts, so that no transaction is long."""
    after = 0
    while True:
        with read_transaction(app.engine) as connection:
            rows = experiments.events_after(connection, experiment, after, _BATCH)
        if not rows:
            return
        yield from rows
        after = rows[-1].id


async def _embedded(api: Backend, results: list[FileView]) -> list[tuple[FileView, str]]:
    """Small pictures as data; the browser draws them as images, which run no script."""
    found, together = [], 0
    for file in results:
        is_picture = file.state == "complete" and file.media_type in PICTURES
        if not is_picture or (file.size or 0) > _LARGEST_PICTURE or together + (file.size or 0) > _LARGEST_TOGETHER:
            continue
        content = (await api.send("GET", f"/data/file/{file.id}/content")).content
        together += len(content)
        found.append((file, f"data:{file.media_type};base64,{base64.b64encode(content).decode()}"))
    return found
