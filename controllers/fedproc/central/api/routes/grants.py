"""A host asks again whether the user of one of its jobs may use the datasets of that job."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fedproc.central.api.deps import AppState, HostCaller, app_state, audit_event
from fedproc.central.api.routes.common import HostPath, JobPath, answer, router
from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import experiments
from fedproc.central.grants.checks import Again
from fedproc.common.errors import ConflictError, ForbiddenError, NotFoundError
from fedproc.contract.api.grants import DatasetAnswer, GrantAnswer, JobGrants
from fedproc.contract.states import TERMINAL
from fedproc.contract.times import moment

routes = router("hosts")

_WORST: tuple[GrantAnswer, ...] = ("not_granted", "not_asked")
_SECRET = {"Cache-Control": "no-store"}


@routes.post("/hosts/{host_id}/jobs/{job_id}/grants", response_model=JobGrants)
async def check_grants(request: Request, host_id: HostPath, job_id: JobPath, caller: HostCaller) -> Response:
    """Ask the providers again, in the name of the job's user; for an open job of the host that asks, and no other.

    If all is granted, the user's token is exchanged for one whose only audience is this host (RFC 8693).
    """
    if caller.host != host_id:
        raise ForbiddenError(f"the token is of host {caller.host}, not of {host_id}", code="forbidden.host")
    app = app_state(request)
    row, ordered = await run_in_threadpool(_open_job, app, job_id, host_id)
    datasets = [f"{host_id}:{use['id']}" for use in row.datasets or ()]
    found = await app.grant_checks.again(row.experiment, row.owner, datasets, host_id, ordered)
    view = _view(row.id, found)
    event = audit_event(request)
    event.target, event.is_action = job_id, view.answer in {"not_granted", "session_ended"} or view.token is not None
    return answer(view, 200, _SECRET)


def _open_job(app: AppState, job: str, host: str) -> tuple[Row[Any], list[dict[str, Any]]]:
    """The job, and the grants of its order."""
    with read_transaction(app.engine) as connection:
        row, ordered = experiments.job(connection, job, None), experiments.grants_of(connection, job)
    if row.host != host:
        raise NotFoundError(f"there is no job {job} of {host}")
    if row.state in TERMINAL:
        raise ConflictError(f"job {job} has ended as {row.state}", code="conflict.ended")
    return row, ordered


def _view(job: str, found: Again) -> JobGrants:
    if found.ended is not None:
        return JobGrants(job=job, answer="session_ended", reason=found.ended)
    answers = [
        DatasetAnswer(dataset=name, provider=finding.provider, answer=finding.answer, reason=finding.reason)
        for name, finding in found.findings.items()
    ]
    worst = next((kind for kind in _WORST if any(entry.answer == kind for entry in answers)), None)
    if worst is not None:
        reason = "; ".join(f"{entry.dataset}: {entry.reason}" for entry in answers if entry.answer == worst)
        return JobGrants(job=job, answer=worst, reason=reason, datasets=answers)
    token = found.token
    return JobGrants(
        job=job, answer="granted", datasets=answers, reason=found.not_exchanged or "",
        token=None if token is None else token.token,
        token_expires=None if token is None else moment(token.expires),
    )  # fmt: skip
