"""What operators do and see: enrolments, revoking, jobs of dead hosts, unread messages, who did what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query, Request
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from fedproc.central.api.deps import app_state
from fedproc.central.api.pages.access import Api, Form, SignedIn, pages
from fedproc.central.api.pages.backend import ApiError, Backend
from fedproc.central.api.pages.rendering import page, segment
from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import audits
from fedproc.contract.api.enrolments import EnrolmentCode, EnrolmentView
from fedproc.contract.api.hosts import HostView
from fedproc.contract.api.operations import AuditPage, DeadLetterPage, Health
from fedproc.contract.api.retention import StorageView

routes = pages()

_ENTRIES = 100
_NOT_OF_THE_FORM = frozenset({401, 403})
"""faults that the form itself cannot be corrected by"""


@routes.get("/dashboard/operate")
async def show_operations(request: Request, api: Api) -> Response:
    """How the federation stands, who asks to be admitted, what could not be read."""
    return await _operations(request, api)


async def _operations(
    request: Request, api: Backend, code: EnrolmentCode | None = None, refused: ApiError | None = None
) -> Response:
    enrolments = await api.many(EnrolmentView, "/enrolments")  # first, as it says what role this needs
    health = await api.send("GET", "/hosts/health/", accept=frozenset({503}))
    values = {
        "health": Health.model_validate_json(health.content),
        "revoked": [host.id for host in await api.many(HostView, "/hosts/", show="revoked", brief=True, limit=200)],
        "drained": await api.many(HostView, "/hosts/", show="drained", brief=True, limit=200),
        "enrolments": enrolments,
        "unread": (await api.one(DeadLetterPage, "/dead-letters", limit=20)).items,
        "storage": await api.one(StorageView, "/storage"),
        "code": code,
        "wrong": refused.shown if refused else "",
        "typed": await _typed(request) if refused else {"form": ""},
        "address": "/dashboard/operate" if request.method == "POST" else "",
    }
    return page(request, "operate.html", values, refused.status if refused else 200)


async def _typed(request: Request) -> dict[str, str]:
    """What stands in the form that was sent, for its correction."""
    form = await request.form()
    return {"form": request.url.path.rpartition("/")[2], **{name: _text(form, name) for name in ("host", "reason")}}


async def _done(request: Request, api: Backend, path: str, place: str = "", **body: str) -> Response:
    """Do it, and show how things stand then; what was wrong with it stands in the same page."""
    try:
        await api.send("POST", path, body=body or None)
    except ApiError as error:
        if error.status in _NOT_OF_THE_FORM:
            raise
        return await _operations(request, api, refused=error)
    return RedirectResponse(f"/dashboard/operate{place}", 303)


def _text(form: FormData, name: str) -> str:
    return str(form.get(name, "")).strip()


@routes.post("/dashboard/operate/codes")
async def give_code(request: Request, api: Api, form: Form) -> Response:
    """A single-use code for a new host; this page shows it once."""
    try:
        answer = await api.send("POST", "/enrolments", body={"host": _text(form, "host")})
    except ApiError as error:
        if error.status in _NOT_OF_THE_FORM:
            raise
        return await _operations(request, api, refused=error)
    return await _operations(request, api, EnrolmentCode.model_validate_json(answer.content))


@routes.post("/dashboard/operate/refusals")
async def refuse(request: Request, api: Api, form: Form) -> Response:
    """Refuse a host's request."""
    path = f"/enrolments/{segment(_text(form, 'host'))}/refusal"
    return await _done(request, api, path, reason=_text(form, "reason"))


@routes.post("/dashboard/operate/revocations")
async def revoke(request: Request, api: Api, form: Form) -> Response:
    """Revoke a host: its id has to be typed, so that it is not done by a slip."""
    path = f"/hosts/{segment(_text(form, 'host'))}/revocation"
    return await _done(request, api, path, "#revoke", reason=_text(form, "reason"))


@routes.post("/dashboard/operate/drains")
async def drain(request: Request, api: Api, form: Form) -> Response:
    """Let no new job go to a host."""
    path = f"/hosts/{segment(_text(form, 'host'))}/drain"
    return await _done(request, api, path, "#drain", reason=_text(form, "reason"))


@routes.post("/dashboard/operate/resumptions")
async def resume(request: Request, api: Api, form: Form) -> Response:
    """Let new jobs go to a host again."""
    return await _done(request, api, f"/hosts/{segment(_text(form, 'host'))}/resume", "#drain")


@routes.post("/dashboard/tools/{tool_id}/recalls")
async def recall(tool_id: str, api: Api, form: Form) -> Response:
    """Recall one version of a tool: it is typed, so that it is not done by a slip."""
    body = {"version": str(form.get("version", "")).strip(), "reason": str(form.get("reason", ""))}
    await api.send("POST", f"/tools/{segment(tool_id)}/recall", body=body)
    left = await api.send("GET", f"/tools/{segment(tool_id)}", accept=frozenset({404}))
    if left.status_code == 404:  # it was the last version: the audit alone has it
        return RedirectResponse("/dashboard/operate/audit?action=recall_tool", 303)
    return RedirectResponse(f"/dashboard/tools/{segment(tool_id)}#recalled", 303)


@routes.post("/dashboard/experiments/{experiment}/lost")
async def end_as_lost(experiment: str, api: Api, session: SignedIn, form: Form) -> Response:
    """End jobs whose host does not come back."""
    jobs = [str(job) for job in form.getlist("job")]
    body = {"reason": str(form.get("reason", "")), "jobs": jobs}
    await api.send("POST", f"/experiments/{segment(experiment)}/lost", body=body)
    return RedirectResponse(f"/dashboard/experiments/{segment(experiment)}", 303)


@routes.get("/dashboard/operate/audit")
async def show_audit(
    request: Request,
    api: Api,
    session: SignedIn,
    actor: Annotated[str, Query(max_length=255)] = "",
    action: Annotated[str, Query(max_length=64)] = "",
    target: Annotated[str, Query(max_length=255)] = "",
    cursor: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> Response:
    """Who did what, newest first; ``actor`` may be the name of a person as well."""
    filters = {"actor": actor, "action": action, "target": target}
    engine = app_state(request).engine
    named = await run_in_threadpool(_named, engine, actor) if actor and session.operates else []
    only = {**filters, "actor": named[0] if len(named) == 1 else actor}
    found = await api.one(AuditPage, "/audit", **only, cursor=cursor or None, limit=_ENTRIES)
    names = await run_in_threadpool(_names, engine, [*named, *(one.actor for one in found.items)])
    own = {session.subject: session.name} if session.name else {}
    values = {"entries": found.items, "next": found.next, "filters": filters, "names": names | own}
    return page(request, "audit.html", {**values, "several": named if len(named) > 1 else []})


def _named(engine: Engine, name: str) -> list[str]:
    with read_transaction(engine) as connection:
        return audits.actors_named(connection, name)


def _names(engine: Engine, actors: Sequence[str]) -> dict[str, str]:
    with read_transaction(engine) as connection:
        return audits.names_of(connection, actors)
