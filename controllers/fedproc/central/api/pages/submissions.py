"""Tools that were sent in: their provider's view, and that of who decides."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import Query, Request
from starlette.responses import RedirectResponse, Response

from fedproc.central.api.pages.access import Api, Form, SignedIn, pages
from fedproc.central.api.pages.rendering import page, segment
from fedproc.contract.api.submissions import SubmissionDetail, SubmissionView

routes = pages()


@routes.get("/dashboard/submissions")
async def show_submissions(
    request: Request, api: Api, state: Annotated[str, Query(pattern="^(waits|approved|refused)?$")] = ""
) -> Response:
    """One's own; an operator's everybody's."""
    found = await api.many(SubmissionView, "/submissions", state=state)
    return page(request, "submissions.html", {"submissions": found, "state": state})


@routes.get("/dashboard/submissions/{submission}")
async def show_submission(request: Request, submission: str, api: Api, session: SignedIn) -> Response:
    """One with the check's findings and the tool's description."""
    found = await api.one(SubmissionDetail, f"/submissions/{segment(submission)}")
    values = {
        "submission": found,
        "tool": found.manifest.get("tool", {}),
        "files": found.manifest.get("files", []),
        "description": json.dumps(found.manifest.get("tool", {}), indent=1, ensure_ascii=False),
        "decides": session.operates and found.state == "waits",
    }
    return page(request, "submission.html", values)


@routes.post("/dashboard/submissions/{submission}/decision")
async def decide(submission: str, api: Api, form: Form) -> Response:
    """Approve or refuse it."""
    body = {"approve": form.get("decision") == "approve", "text": " ".join(str(form.get("text", "")).split())}
    await api.send("POST", f"/submissions/{segment(submission)}/decision", body=body)
    return RedirectResponse(f"/dashboard/submissions/{segment(submission)}", 303)
