"""A host's acceptance: one real experiment on it alone, asked for by itself or by an operator."""

from __future__ import annotations

import json
import time
from typing import Any

from fastapi import Request
from pydantic_core import to_json
from sqlalchemy import Connection
from starlette.responses import Response

from fedproc.central.api.deps import AnyCaller, AppState, app_state, audit_event
from fedproc.central.api.routes.common import HostPath, answer, router
from fedproc.central.api.views import experiment_view, host_view
from fedproc.central.auth.tokens import Caller
from fedproc.central.db.engine import read_transaction, retry_on_conflict, serialized_transaction
from fedproc.central.db.repositories import datasets, experiments, files, hosts
from fedproc.central.experiments.submission import submit
from fedproc.common.errors import ConflictError, ForbiddenError
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.api.hosts import AcceptanceView
from fedproc.contract.states import ENDED

routes = router("hosts")

_LARGEST_REPORT = 1 << 20


@routes.post("/hosts/{host_id}/acceptance", status_code=201, response_model=AcceptanceView)
def begin_acceptance(request: Request, host_id: HostPath, caller: AnyCaller) -> Response:
    """Start a host's acceptance: a job that looks from inside, and a dataset of its own if it offers one.

    While one runs, it is the answer. A host becomes accepted when it succeeds, and stays so if a later one does not.
    """
    _check_allowed(caller, host_id)
    view = retry_on_conflict(lambda: _begin(request, host_id, caller))
    app_state(request).notifier.publish("outbox")
    app_state(request).notifier.publish("events")
    return answer(view, 201)


@routes.get("/hosts/{host_id}/acceptance", response_model=AcceptanceView)
def get_acceptance(request: Request, host_id: HostPath, caller: AnyCaller) -> Response:
    """How a host's newest acceptance stands, and what it found."""
    _check_allowed(caller, host_id)
    with read_transaction(app_state(request).engine) as connection:
        return answer(_view(connection, app_state(request), host_id))


def _check_allowed(caller: Caller, host: str) -> None:
    if caller.host != host and not caller.operates:
        raise ForbiddenError(
            f"the acceptance of {host} is for the host itself and for operators", code="forbidden.host"
        )


def _begin(request: Request, host: str, caller: Caller) -> AcceptanceView:
    app = app_state(request)
    with serialized_transaction(app.engine) as connection:
        before = _view(connection, app, host)
        if before.experiment is not None and before.experiment.state not in ENDED:
            return before
        made = submit(
            connection, app.settings, caller, _order(connection, app, host), None, time.time(), acceptance=True
        )
        hosts.begin_acceptance(connection, host, made)
        audit_event(request).record(connection, 201, host, f"experiment={made}")
        return _view(connection, app, host)


def _order(connection: Connection, app: AppState, host: str) -> ExperimentRequest:
    row = hosts.one(connection, host)
    if row is None or not host_view(row, app.heartbeat_timeout).alive:
        raise ConflictError(
            f"{host} has not been heard of lately: start its orchestrator first", code="conflict.silent"
        )
    offered = [f"{host}:{each}" for each in datasets.ids_of(connection, host)]
    return ExperimentRequest(
        tool=app.settings.acceptance_tool,
        hosts=[host],
        datasets=offered[:1],
        parameters={"fail_on_findings": True},
        label="acceptance",
    )


def _view(connection: Connection, app: AppState, host: str) -> AcceptanceView:
    row = hosts.enrolled(connection, host)
    if row.acceptance is None:
        return AcceptanceView(host=host, accepted=row.is_accepted)
    jobs = experiments.jobs_of(connection, row.acceptance)
    experiment = experiment_view(experiments.find(connection, row.acceptance, None), jobs, app.heartbeat_timeout)
    return AcceptanceView(
        host=host, accepted=row.is_accepted, experiment=experiment, report=_report(connection, app, row.acceptance)
    )


def _report(connection: Connection, app: AppState, experiment: str) -> dict[str, Any] | None:
    for row in files.outputs(connection, experiment=experiment):
        if row.output == "report" and row.state == "complete" and row.size <= _LARGEST_REPORT:
            return _read(app.blobs.path(row.id).read_bytes())
    return None


def _read(content: bytes) -> dict[str, Any] | None:
    """A report as its host wrote it: what cannot be read, or shown again, is none."""
    try:
        report = json.loads(content)
        to_json([[report]])  # as deep as it stands in the answer
    except (ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) else None
