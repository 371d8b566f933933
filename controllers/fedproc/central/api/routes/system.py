"""The API about itself: documentation, metrics, audit."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import Query, Request
from pydantic import AwareDatetime
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, Response

from fedproc.central.api.deps import AppState, Operator, app_state
from fedproc.central.api.documentation import plain, swagger
from fedproc.central.api.metrics import CONTENT_TYPE
from fedproc.central.api.openapi import document_bytes
from fedproc.central.api.routes.common import answer, router
from fedproc.central.api.views import audit_entry, dead_letter
from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import audits
from fedproc.common.errors import NotFoundError
from fedproc.contract.api.base import Line
from fedproc.contract.api.operations import AuditPage, DeadLetterPage

routes = router("system")


@routes.get("/docs", response_class=Response)
async def get_docs(
    request: Request,
    without_scripts: Annotated[bool, Query(alias="plain", description="for a browser: no scripts")] = False,
) -> Response:
    """This API's description: OpenAPI as JSON to a program, Swagger UI to a browser (``Accept: text/html``)."""
    headers = {"Vary": "Accept", "Cache-Control": "no-cache"}
    if "text/html" not in request.headers.get("accept", ""):
        return Response(document_bytes(request.app), 200, headers, "application/json")
    text, policy = (plain.page(request.app), plain.POLICY) if without_scripts else (swagger.PAGE, swagger.POLICY)
    return HTMLResponse(text, headers={**headers, "Content-Security-Policy": policy})


@routes.get("/docs/assets/{name}", include_in_schema=False)
async def get_docs_asset(name: str) -> Response:
    """What the page loads."""
    if (found := swagger.asset(name)) is None:
        raise NotFoundError("there is nothing at this path; /docs lists what there is")
    return Response(found[0], headers={"Cache-Control": "public, max-age=86400"}, media_type=found[1])


@routes.get("/openapi.json", include_in_schema=False)
async def get_openapi(request: Request) -> Response:
    return Response(document_bytes(request.app), media_type="application/json")


@routes.get("/metrics", response_class=Response)
async def get_metrics(request: Request) -> Response:
    """Counts and times for Prometheus; nothing in it names a person, a tool or a host."""
    return Response(await run_in_threadpool(_metrics, app_state(request)), media_type=CONTENT_TYPE)


def _metrics(app: AppState) -> bytes:
    with read_transaction(app.engine) as connection:
        return app.metrics.page(connection, time.time() - app.heartbeat_timeout)


@routes.get("/audit", response_model=AuditPage)
def get_audit(
    request: Request,
    caller: Operator,
    actor: Annotated[Line | None, Query(max_length=255, description="a user's sub, host:ID, or anonymous")] = None,
    action: Annotated[
        Line | None, Query(max_length=64, description="name of the endpoint, e.g. create_experiment")
    ] = None,
    target: Annotated[Line | None, Query(max_length=255, description="id of what was acted on")] = None,
    outcome: Annotated[int | None, Query(ge=100, le=599)] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    cursor: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Who did what, when, with which outcome; newest first."""
    filters = {"actor": actor, "action": action, "target": target, "outcome": outcome}
    times = (since.timestamp() if since else None, until.timestamp() if until else None)
    with read_transaction(app_state(request).engine) as connection:
        rows = audits.page(connection, filters, *times, cursor, limit + 1)
    items = [audit_entry(row) for row in rows[:limit]]
    return answer(AuditPage(items=items, next=items[-1].id if len(rows) > limit else None))


@routes.get("/dead-letters", response_model=DeadLetterPage)
def get_dead_letters(
    request: Request,
    caller: Operator,
    cursor: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Messages that a host or the centre could not read, with the reason; newest first."""
    with read_transaction(app_state(request).engine) as connection:
        rows = audits.dead_letter_page(connection, cursor, limit + 1)
    items = [dead_letter(row) for row in rows[:limit]]
    return answer(DeadLetterPage(items=items, next=items[-1].id if len(rows) > limit else None))
