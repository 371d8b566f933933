"""Experiments and their jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import IO, Annotated, Literal

from fastapi import Header, Query, Request
from pydantic import TypeAdapter
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from fedproc.central.api.crate.bag import zipped
from fedproc.central.api.crate.facts import crate_facts
from fedproc.central.api.deps import AppState, Operator, Researcher, app_state, audit_event, bearer_token
from fedproc.central.api.routes.common import (
    ExperimentPath,
    JobPath,
    answer,
    answer_list,
    owner_filter,
    read_one,
    router,
)
from fedproc.central.api.views import experiment_view, file_view, job_view, log_lines, report
from fedproc.central.auth.tokens import Caller
from fedproc.central.db.engine import read_transaction, serialized_transaction
from fedproc.central.db.repositories import experiments, files
from fedproc.central.experiments import held, lost
from fedproc.central.experiments.advance import advance
from fedproc.central.experiments.coordinator import HELD
from fedproc.central.experiments.granted import Granted
from fedproc.central.grants.projects import TERMS
from fedproc.common.errors import ConflictError, NotFoundError
from fedproc.contract.api.base import Line
from fedproc.contract.api.experiments import ExperimentRequest, ExperimentView, JobView, Logs, Loss, Page, Report
from fedproc.contract.api.files import FileView
from fedproc.contract.ids import EXPERIMENT_PATTERN, FILE_PATTERN, HOST_PATTERN, JOB_PATTERN
from fedproc.contract.states import ExperimentState

routes = router("experiments")

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[!-~]{1,255}$",
        description="the same key with the same body answers with the same experiment, however often it is sent",
    ),
]
_FILES = TypeAdapter(list[FileView])
ZIP = {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
_PIECE = 256 << 10
"""bytes of a record that are sent at once"""


@routes.post("/experiments", status_code=201, response_model=ExperimentView)
async def create_experiment(
    request: Request, body: ExperimentRequest, caller: Researcher, idempotency_key: IdempotencyKey = None
) -> Response:
    """Start an experiment: its jobs are placed on the hosts and queued."""
    return await start(request, body, caller, idempotency_key)


async def start(request: Request, body: ExperimentRequest, caller: Caller, key: str | None = None) -> Response:
    """What every way to start an experiment does. No thread is held while providers are asked."""
    granted = await _granted(request, app_state(request), body, caller, key)
    return await run_in_threadpool(_started, request, body, caller, key, granted)


def _started(request: Request, body: ExperimentRequest, caller: Caller, key: str | None, granted: Granted) -> Response:
    app = app_state(request)

    def shown(connection: Connection, experiment: str, known: bool) -> ExperimentView:
        audit_event(request).record(connection, 201, experiment, "repeated" if known else None)
        return _view(connection, app, experiment, None)

    view = app.submissions.start(caller, body, key, shown, granted)
    return answer(view, 201, {"Location": app.url(f"/experiments/{view.id}")})


async def _granted(
    request: Request, app: AppState, body: ExperimentRequest, caller: Caller, key: str | None
) -> Granted:
    """Ask who may use its datasets, unless it is there already or would not be placed. Raises as ``at_start`` does."""
    guarded = app.grant_checks.guarded(body.datasets)
    if not guarded or not await run_in_threadpool(app.submissions.is_new, caller, body, key):
        return Granted()
    stated = {term: getattr(body, term) for term in TERMS}
    return Granted(*await app.grant_checks.at_start(caller.sub, bearer_token(request), guarded, stated))


def _view(connection: Connection, app: AppState, experiment: str, owner: str | None) -> ExperimentView:
    row = experiments.find(connection, experiment, owner)
    return experiment_view(row, experiments.jobs_of(connection, experiment), app.heartbeat_timeout)


@routes.get("/experiments", response_model=Page)
def list_experiments(
    request: Request,
    caller: Researcher,
    state: Annotated[list[ExperimentState] | None, Query(description="may be given more than once")] = None,
    label: Annotated[Line | None, Query(max_length=200)] = None,
    owner: Annotated[Line | None, Query(max_length=255, description="for operators: only this user's")] = None,
    mine: Annotated[bool, Query(description="for operators: only their own")] = False,
    tool: Annotated[Line | None, Query(max_length=64, description="only of this tool")] = None,
    text: Annotated[Line | None, Query(max_length=200, description="in label or tool, or the id")] = None,
    count: Annotated[bool, Query(description="also count them all: total")] = False,
    sort: Annotated[
        Literal["created", "-created", "ended", "-ended", "tool", "-tool", "state", "-state", "label", "-label"] | None,
        Query(description="with - downwards; pages then follow by offset, not by cursor"),
    ] = None,
    offset: Annotated[int, Query(ge=0, le=2**31, description="with sort: how many are passed over")] = 0,
    cursor: Annotated[str | None, Query(pattern=EXPERIMENT_PATTERN)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """One's own experiments, an operator's everybody's; newest first unless sorted, without their jobs."""
    app = app_state(request)
    whose = owner if caller.operates and not mine else caller.sub
    wanted = experiments.Wanted(whose, [s.value for s in state or []], label, tool, text)
    with read_transaction(app.engine) as connection:
        if sort is None:
            rows = experiments.page(connection, wanted, cursor, limit + 1)
        else:
            rows = experiments.sorted_page(connection, wanted, sort, offset, limit + 1)
        without = experiments.succeeded_without(connection, [row.id for row in rows if row.state == "succeeded"])
        partly = experiments.partly_released(connection, [row.id for row in rows if row.state == "succeeded"])
        total = experiments.count(connection, wanted) if count else None
    items = [
        experiment_view(row, (), app.heartbeat_timeout, without.get(row.id, ()), partly.get(row.id, ()))
        for row in rows[:limit]
    ]
    more = items[-1].id if sort is None and len(rows) > limit else None
    return answer(Page(items=items, next=more, total=total))


@routes.get("/experiments/{experiment_id}", response_model=ExperimentView)
def get_experiment(request: Request, experiment_id: ExperimentPath, caller: Researcher) -> Response:
    """One experiment with its jobs."""
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        return answer(_view(connection, app, experiment_id, owner_filter(caller)))


@routes.get("/experiments/{experiment_id}/jobs/{job_id}", response_model=JobView)
async def get_job_of_experiment(
    request: Request, experiment_id: ExperimentPath, job_id: JobPath, caller: Researcher
) -> Response:
    """One job."""
    app = app_state(request)
    row = await read_one(app, lambda connection: experiments.job(connection, job_id, owner_filter(caller)))
    if row.experiment != experiment_id:
        raise NotFoundError(f"job {job_id} is not one of experiment {experiment_id}")
    return answer(job_view(row, row.created, app.heartbeat_timeout, held=row.prepare == HELD))


@routes.post("/experiments/{experiment_id}/start", status_code=202, response_model=ExperimentView)
async def start_experiment(request: Request, experiment_id: ExperimentPath, caller: Researcher) -> Response:
    """Start one that was to be prepared (``prepare``): what its hosts have laid out begins, the rest when it is.

    By whoever sent it alone, and once: again it changes nothing. Who may use its datasets is asked again. One that was
    not to be prepared, or has ended, cannot be started (409).
    """
    app = app_state(request)
    row = await read_one(app, lambda connection: experiments.find(connection, experiment_id, caller.sub))
    guarded = app.grant_checks.guarded(row.request["datasets"]) if held.check_startable(row) else []
    session = None
    if guarded:
        stated = {term: row.request.get(term) for term in ("project", "purpose")}  # its permit may be another by now
        _, session = await app.grant_checks.at_start(caller.sub, bearer_token(request), guarded, stated)
    view = await run_in_threadpool(_proceed, request, experiment_id, session)
    app.notifier.publish("outbox")
    app.notifier.publish("events")
    return answer(view, 202)


def _proceed(request: Request, experiment: str, session: str | None) -> ExperimentView:
    app = app_state(request)
    with serialized_transaction(app.engine) as connection:
        held.start(connection, experiment, session, time.time())
        audit_event(request).record(connection, 202, experiment)
        return _view(connection, app, experiment, None)


@routes.post("/experiments/{experiment_id}/cancel", status_code=202, response_model=ExperimentView)
def cancel_experiment(request: Request, experiment_id: ExperimentPath, caller: Researcher) -> Response:
    """Ask for an end: jobs that were not dispatched end at once, the others when their hosts have stopped them.

    Again changes nothing; an experiment that has ended cannot be cancelled (409).
    """
    app = app_state(request)
    with serialized_transaction(app.engine) as connection:
        experiments.find(connection, experiment_id, owner_filter(caller))
        row = experiments.request_cancel(connection, experiment_id)
        if row.ended is not None:
            raise ConflictError(f"experiment {experiment_id} has already ended as {row.state}", code="conflict.ended")
        advance(connection, experiment_id, time.time())
        audit_event(request).record(connection, 202, experiment_id)
        view = _view(connection, app, experiment_id, None)
    app.notifier.publish("outbox")
    app.notifier.publish("events")
    return answer(view, 202)


@routes.post("/experiments/{experiment_id}/lost", response_model=ExperimentView)
def end_as_lost(request: Request, experiment_id: ExperimentPath, body: Loss, caller: Operator) -> Response:
    """End jobs whose host will not come back, without waiting for it; a host that does come back is told to stop.

    The rest of the experiment goes on or ends as the tool's ``on_host_lost`` says. What has ended cannot be lost (409).
    """
    app = app_state(request)
    with serialized_transaction(app.engine) as connection:
        experiments.find(connection, experiment_id, None)
        lost.end_for_operator(connection, experiment_id, frozenset(body.jobs), body.reason, time.time())
        detail = f"{body.reason} ({', '.join(body.jobs) or 'all open jobs'})"
        audit_event(request).record(connection, 200, experiment_id, detail)
        view = _view(connection, app, experiment_id, None)
    app.notifier.publish("outbox")
    app.notifier.publish("events")
    return answer(view)


@routes.get("/experiments/{experiment_id}/results", response_model=list[FileView])
def get_results(
    request: Request,
    experiment_id: ExperimentPath,
    caller: Researcher,
    cursor: Annotated[str | None, Query(pattern=FILE_PATTERN)] = None,
    limit: Annotated[int | None, Query(ge=1, le=5000, description="all unless given")] = None,
) -> Response:
    """The released outputs of all its jobs, as they arrive; with ``limit``, the ``Link`` header leads on."""
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        experiments.find(connection, experiment_id, owner_filter(caller))
        most = None if limit is None else limit + 1
        rows = files.outputs(connection, experiment=experiment_id, after=cursor, most=most)
    headers = {}
    if limit is not None and len(rows) > limit:
        rows = rows[:limit]
        more = app.url(f"/experiments/{experiment_id}/results?limit={limit}&cursor={rows[-1].id}")
        headers = {"Link": f'<{more}>; rel="next"'}
    return answer_list(_FILES, [file_view(app, row) for row in rows], headers)


@routes.get("/experiments/{experiment_id}/report", response_model=Report)
def get_report(request: Request, experiment_id: ExperimentPath, caller: Researcher) -> Response:
    """What ran where, how long, with what; as far as its hosts have told until now."""
    with read_transaction(app_state(request).engine) as connection:
        row = experiments.find(connection, experiment_id, owner_filter(caller))
        return answer(report(row, experiments.jobs_of(connection, experiment_id)))


@routes.get("/experiments/{experiment_id}/crate", response_class=Response, responses={200: ZIP})
def get_crate(request: Request, experiment_id: ExperimentPath, caller: Researcher) -> Response:
    """The record of it as a Five Safes RO-Crate: one zip with who, what, why, which data, and each site's decision.

    Results stand in it by name, size and hash; what a site keeps is not in it. As far as it has come until now.
    """
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        row = experiments.find(connection, experiment_id, owner_filter(caller))
        facts = crate_facts(connection, app, row)
    made = zipped(facts)
    headers = {
        "Content-Length": str(made.seek(0, os.SEEK_END)),
        "Content-Disposition": f'attachment; filename="{experiment_id}.crate.zip"',
        "Link": '<https://w3id.org/ro/crate>; rel="profile"',
    }
    return StreamingResponse(_pieces(made), 200, headers, "application/zip")


def _pieces(made: IO[bytes]) -> Iterator[bytes]:
    with made:
        made.seek(0)
        while piece := made.read(_PIECE):
            yield piece


@routes.get("/experiments/{experiment_id}/logs", response_model=Logs)
def get_logs(
    request: Request,
    experiment_id: ExperimentPath,
    caller: Researcher,
    job: Annotated[str | None, Query(pattern=JOB_PATTERN)] = None,
    host: Annotated[str | None, Query(pattern=HOST_PATTERN)] = None,
    cursor: Annotated[int, Query(ge=0, le=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> Response:
    """What its jobs wrote, where their hosts' policy lets that out; ``Accept: text/plain`` gives plain lines."""
    with read_transaction(app_state(request).engine) as connection:
        experiments.find(connection, experiment_id, owner_filter(caller))
        rows = experiments.logs(connection, experiment_id, {"job": job, "host": host}, cursor, limit + 1)
    items = [log_lines(row) for row in rows[:limit]]
    if "text/plain" in request.headers.get("accept", ""):
        return PlainTextResponse("".join(f"{i.host} {i.task} {i.stream}: {line}\n" for i in items for line in i.lines))
    return answer(Logs(items=items, next=rows[limit - 1].id if len(rows) > limit else None))
