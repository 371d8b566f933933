"""A new experiment: from a checked request to rows, in one transaction with the messages that follow from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row

from fedproc.central.auth.tokens import Caller
from fedproc.central.db.repositories import experiments, hosts, tools
from fedproc.central.experiments.advance import advance
from fedproc.central.experiments.placement import HostFacts, Placed, Plan, gang_tasks, named_hosts, plan, windows
from fedproc.central.settings import CentralSettings
from fedproc.common.errors import ConflictError, InvalidInputError, NotFoundError
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.ids import new_id
from fedproc.contract.times import moment
from fedproc.contract.tool.tool import Tool, ToolRef
from fedproc.contract.wire.jws import canonical
from fedproc.contract.wire.messages import Deadlines, JobOrder, User

_DAY = 86_400.0


def fingerprint(request: ExperimentRequest) -> str:
    """The same for requests that ask for the same."""
    return hashlib.sha256(canonical(request.model_dump(mode="json"))).hexdigest()


def earlier(connection: Connection, caller: Caller, key: str, request: ExperimentRequest) -> str | None:
    """The experiment that the caller already made under this Idempotency-Key.

    Raises :class:`ConflictError` if it was made by another request.
    """
    row = experiments.by_key(connection, caller.sub, key)
    if row is None:
        return None
    if row.fingerprint != fingerprint(request):
        raise ConflictError(
            f"Idempotency-Key {key!r} was used for another request (experiment {row.id}); take a new key for a new one",
            code="conflict.idempotency",
        )
    return str(row.id)


def submit(
    connection: Connection,
    settings: CentralSettings,
    caller: Caller,
    request: ExperimentRequest,
    key: str | None,
    now: float,
    *,
    acceptance: bool = False,
) -> str:
    """Place the request and write experiment, jobs and what may go at once; the experiment's id.

    ``acceptance``: it may go to hosts that are not accepted yet.

    Raises :class:`InvalidInputError` that names every fault.
    """
    row = _tool(connection, request)
    tool = tools.of_digest(connection, row.digest)
    known = _hosts(connection, named_hosts(request, settings.aggregator))
    placed = plan(request, tool, known, settings.aggregator, acceptance=acceptance)
    experiment = new_id("e")
    values = {**_experiment(placed, row, caller, now), "id": experiment}
    if key is not None:
        values |= {"idempotency_key": key, "fingerprint": fingerprint(request)}
    orders = _Orders(experiment, placed, tool, row.digest, caller, settings, now)
    experiments.add(connection, values, orders.rows())
    advance(connection, experiment, now)
    return experiment


def _tool(connection: Connection, request: ExperimentRequest) -> Row[Any]:
    try:
        return tools.find(connection, request.tool, request.version)
    except NotFoundError as fault:
        where, cure = fault.detail.get("where", "tool"), "GET /tools lists tools and versions"
        errors = [{"where": where, "what": fault.message, "cure": cure}]
        raise InvalidInputError(fault.message, code="placement", errors=errors) from fault


def _hosts(connection: Connection, ids: Iterable[str]) -> dict[str, HostFacts]:
    return {row.id: _facts(row) for row in hosts.named(connection, ids)}


def _facts(row: Row[Any]) -> HostFacts:
    offered = None if row.heartbeat is None else {d["id"]: d["version"] for d in row.heartbeat.get("datasets", [])}
    return HostFacts(row.id, row.active, frozenset(row.roles), offered, row.is_accepted)


def _experiment(placed: Plan, tool: Row[Any], caller: Caller, now: float) -> dict[str, Any]:
    return {
        "owner": caller.sub,
        "owner_name": caller.name,
        "tool": tool.id,
        "version": tool.version,
        "digest": tool.digest,
        "label": placed.request.label,
        "request": placed.request.model_dump(mode="json"),
        "state": "queued",
        "cancel_requested": False,
        "created": now,
        "idempotency_key": None,
        "fingerprint": None,
    }


class _Orders:
    """The rows of an experiment's jobs. What follows from all of them is put into an order when it is written."""

    def __init__(
        self,
        experiment: str,
        placed: Plan,
        tool: Tool,
        digest: str,
        caller: Caller,
        settings: CentralSettings,
        now: float,
    ) -> None:
        self._experiment = experiment
        self._plan = placed
        self._tool = ToolRef(id=tool.id, version=tool.version, digest=digest)
        self._user = User(sub=caller.sub, name=caller.name)
        self._gang = gang_tasks(tool)
        release = settings.release_days * _DAY
        self._orders: dict[str, dict[str, Any]] = {}
        self._windows = windows(tool, now, placed.request.start_within, settings.hold_seconds, release)

    def rows(self) -> list[dict[str, Any]]:
        """In the order of the plan; their ids sort the same way."""
        ids = sorted(new_id("j") for _ in self._plan.jobs)
        return [self._row(job_id, job) for job_id, job in zip(ids, self._plan.jobs, strict=True)]

    def _row(self, job_id: str, job: Placed) -> dict[str, Any]:
        window = self._windows[job.task.name]
        return {
            "id": job_id,
            "experiment": self._experiment,
            "host": job.host,
            "task": job.task.name,
            "state": "queued",
            "gang": job.task.name in self._gang,
            "order": self._order(job_id, job),
            "datasets": [use.model_dump(mode="json") for use in job.datasets],
            "uploads_missing": sum(entry.kind == "upload" and not entry.optional for entry in job.task.inputs),
            "start_by": window.start_by,
            "end_by": window.end_by,
            "release_by": window.release_by,
        }

    def _order(self, job_id: str, job: Placed) -> dict[str, Any]:
        own: dict[str, Any] = {"job": job_id}
        if job.parameters:
            own["parameters"] = job.parameters
        if job.datasets:
            own["datasets"] = [use.model_dump(mode="json", exclude_defaults=True) for use in job.datasets]
        return self._shared(job_id, job.task.name) | own

    def _shared(self, job_id: str, task: str) -> dict[str, Any]:
        """What the orders of a task have in common."""
        if task not in self._orders:
            request, window = self._plan.request, self._windows[task]
            order = JobOrder(
                job=job_id,
                experiment=self._experiment,
                task=task,
                tool=self._tool,
                user=self._user,
                project=request.project,
                permit=request.permit,
                purpose=request.purpose,
                deadlines=Deadlines(
                    start_by=moment(window.start_by),
                    end_by=moment(window.end_by),
                    release_by=moment(window.release_by),
                ),
                gang=task in self._gang,
            )
            self._orders[task] = order.model_dump(mode="json", exclude_defaults=True)
        return self._orders[task]
