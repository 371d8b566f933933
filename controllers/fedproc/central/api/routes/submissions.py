"""Tools that providers send in: checked, decided by who approves tools, offered by nobody but the catalogue."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import TypeAdapter
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import Response

from fedproc.catalog.examination import examine
from fedproc.central.api.deps import Operator, Researcher, app_state, audit_event
from fedproc.central.api.middleware import bounded_by
from fedproc.central.api.routes.common import SubmissionPath, answer, answer_list, owner_filter, router
from fedproc.central.auth.tokens import Caller
from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import submissions, tools
from fedproc.common.errors import ConflictError, InvalidInputError, QuotaError, TooLargeError
from fedproc.contract.api.submissions import SubmissionDecision, SubmissionDetail, SubmissionState, SubmissionView
from fedproc.contract.ids import new_id
from fedproc.contract.times import moment
from fedproc.contract.wire.limits import MANIFEST_BYTES

routes = router("tools and tasks")

LARGEST = 8 << 20
"""bytes of a packed source: it is kept in the database"""
MOST_WAITING = 10
"""of one provider"""
_LISTED = 200
_NOTE = 2000
_VIEWS = TypeAdapter(list[SubmissionView])
_SENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["manifest", "bundle"],
                    "properties": {
                        "manifest": {"type": "string", "description": "the manifest as JSON, not signed"},
                        "bundle": {"type": "string", "format": "binary", "description": "the packed source (tar.gz)"},
                        "note": {"type": "string", "description": "for who decides"},
                    },
                }
            }
        },
    }
}


@routes.post("/submissions", status_code=201, response_model=SubmissionView, openapi_extra=_SENT)
@bounded_by(LARGEST + 2 * MANIFEST_BYTES)
async def submit_tool(request: Request, caller: Researcher) -> Response:
    """Send in a version of a tool to be approved. It is checked at once; what is wrong is told, and nothing kept.

    ``fedproc catalog submit FOLDER`` sends it. Nothing is offered before it is approved, signed and published.
    """
    await run_in_threadpool(_check_room, request, caller)
    async with request.form(max_files=1, max_fields=2, max_part_size=MANIFEST_BYTES) as form:
        manifest, bundle, note = form.get("manifest"), form.get("bundle"), form.get("note", "")
        if not isinstance(manifest, str) or not isinstance(bundle, UploadFile) or not isinstance(note, str):
            text = "send multipart/form-data with manifest (a text), bundle (a file), and note (a text) if you like"
            raise InvalidInputError(text, code="form")
        packed = await bundle.read()
    if len(packed) > LARGEST:
        raise TooLargeError(f"the packed source has {len(packed)} bytes, and may have {LARGEST}")
    return await run_in_threadpool(_submit, request, caller, manifest, packed, note[:_NOTE].replace("\x00", ""))


def _check_room(request: Request, caller: Caller) -> None:
    with read_transaction(app_state(request).engine) as connection:
        if submissions.count_waiting(connection, caller.sub) >= MOST_WAITING:
            text = f"{MOST_WAITING} of your tools wait for a decision already: wait, or fedproc catalog withdraw one"
            raise QuotaError(text, code="quota.submissions")


def _submit(request: Request, caller: Caller, manifest: str, packed: bytes, note: str) -> Response:
    app, found, submission = app_state(request), examine(manifest, packed), new_id("s")
    values = {
        "id": submission, "owner": caller.sub, "owner_name": caller.name, "tool": found["id"],
        "version": found["version"], "digest": found["digest"], "name": found["name"], "note": note,
        "manifest": found["manifest"], "bundle": packed, "findings": found["findings"], "state": "waits",
        "text": "", "created": time.time(),
    }  # fmt: skip
    with write_transaction(app.engine) as connection:
        if any(row.version == found["version"] for row in tools.all_versions(connection, found["id"])):
            raise ConflictError(f"{found['id']} {found['version']} is in the catalogue already: raise its version")
        if same := submissions.waiting(connection, caller.sub, found["digest"]):
            raise ConflictError(
                f"this {found['id']} {found['version']} waits already, as {same}: change it, or wait for the decision"
            )
        submissions.add(connection, values)
        audit_event(request).record(connection, 201, submission, f"{found['id']} {found['version']} {found['digest']}")
        row = submissions.one(connection, submission, None)
    return answer(_view(row), 201, {"Location": app.url(f"/submissions/{submission}")})


@routes.get("/submissions", response_model=list[SubmissionView])
def list_submissions(
    request: Request,
    caller: Researcher,
    state: Annotated[SubmissionState | None, Query()] = None,
    mine: Annotated[bool, Query(description="for operators: only their own")] = False,
) -> Response:
    """One's own, an operator's everybody's; the newest 200 first."""
    owner = caller.sub if mine else owner_filter(caller)
    with read_transaction(app_state(request).engine) as connection:
        rows = submissions.page(connection, owner, state, _LISTED)
    return answer_list(_VIEWS, [_view(row) for row in rows])


@routes.get("/submissions/{submission_id}", response_model=SubmissionDetail)
def get_submission(request: Request, submission_id: SubmissionPath, caller: Researcher) -> Response:
    """One with the tool's description."""
    with read_transaction(app_state(request).engine) as connection:
        row = submissions.one(connection, submission_id, owner_filter(caller))
    return answer(SubmissionDetail(**_view(row).model_dump(), manifest=row.manifest))


@routes.get("/submissions/{submission_id}/bundle", response_class=Response)
def get_submitted_source(request: Request, submission_id: SubmissionPath, caller: Researcher) -> Response:
    """Its packed source (tar.gz), as it was sent. It is a stranger's: look at it before anything of it runs."""
    with read_transaction(app_state(request).engine) as connection:
        row = submissions.one(connection, submission_id, owner_filter(caller))
    if not row.bundle:
        raise ConflictError(f"the source of {submission_id} is not kept: it was refused", code="conflict.decided")
    headers = {"Content-Disposition": 'attachment; filename="bundle.tar.gz"'}
    return Response(row.bundle, 200, headers, "application/gzip")


@routes.post("/submissions/{submission_id}/decision", response_model=SubmissionView)
def decide_submission(
    request: Request, submission_id: SubmissionPath, body: SubmissionDecision, caller: Operator
) -> Response:
    """Approve or refuse it, once; its provider sees the text. One approved is offered when it is signed and published.

    The catalogue's key is not here: ``fedproc catalog fetch`` and ``publish`` do that where it is.
    """
    if not body.approve and not body.text.strip():
        raise InvalidInputError("say why it is refused: its provider sees the text", code="text")
    with write_transaction(app_state(request).engine) as connection:
        before = submissions.one(connection, submission_id, None)
        state = "approved" if body.approve else "refused"
        submissions.decide(connection, submission_id, state, body.text.strip(), time.time())
        detail = f"{state} {before.tool} {before.version} {before.digest}: {body.text.strip()}"
        audit_event(request).record(connection, 200, submission_id, detail)
        row = submissions.one(connection, submission_id, None)
    return answer(_view(row))


@routes.delete("/submissions/{submission_id}", status_code=204, response_class=Response)
def withdraw_submission(request: Request, submission_id: SubmissionPath, caller: Researcher) -> Response:
    """Withdraw one's own; what is in the catalogue stays there."""
    with write_transaction(app_state(request).engine) as connection:
        row = submissions.one(connection, submission_id, caller.sub)
        submissions.withdraw(connection, submission_id)
        audit_event(request).record(connection, 204, submission_id, f"{row.tool} {row.version}")
    return Response(status_code=204)


def _view(row: Row[Any]) -> SubmissionView:
    names = ("id", "tool", "version", "digest", "name", "note", "state", "text", "offered", "findings")
    values = {name: row._mapping[name] for name in names}
    decided = None if row.decided is None else moment(row.decided)
    return SubmissionView(**values, provider=row.owner_name or row.owner, created=moment(row.created), decided=decided)
