"""A new experiment: from a checked request to rows, in one transaction with the messages that follow from it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Row

from fedproc.central.auth.tokens import Caller
from fedproc.central.db.engine import read_transaction, retry_on_conflict, serialized_transaction
from fedproc.central.db.repositories import (
    dataset_columns,
    datasets,
    delegations,
    experiments,
    hosts,
    log_queue,
    shared,
    tools,
)
from fedproc.central.db.repositories.log_queue import LogEntry
from fedproc.central.experiments.advance import advance
from fedproc.central.experiments.coordinator import AHEAD, HELD
from fedproc.central.experiments.forecast import Rehearsal
from fedproc.central.experiments.gangs import gang_tasks, groups
from fedproc.central.experiments.granted import Granted, by_grants, told_by
from fedproc.central.experiments.held import goes_ahead
from fedproc.central.experiments.orders import Drafts
from fedproc.central.experiments.placement import Placed, Plan, named_hosts, plan, windows
from fedproc.central.experiments.placement_facts import facts_of
from fedproc.central.experiments.quotas import Quotas
from fedproc.central.experiments.shown import shown_to
from fedproc.central.notify import Notifier
from fedproc.central.settings import CentralSettings
from fedproc.central.tlog.entries import SUBMITTED
from fedproc.common.errors import ConflictError, InvalidInputError, NotFoundError
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.ids import new_id
from fedproc.contract.tool.privacy import masked_outputs
from fedproc.contract.tool.tool import Tool, ToolRef
from fedproc.contract.wire.datasets import ImagingSummary
from fedproc.contract.wire.jws import canonical
from fedproc.contract.wire.messages import User

T = TypeVar("T")
Answer = Callable[[Connection, str, bool], T]
"""is given the experiment's id, and whether it was there already, in the transaction that started it"""

_DAY = 86_400.0
_NEWER = ("encrypt_to", "lost_after", "selection", "dataset_selections", "prepare")
_NOTHING = Granted()


class Submissions:
    """Starts experiments of users; whoever waits for messages or events is woken."""

    def __init__(self, engine: Engine, settings: CentralSettings, notifier: Notifier) -> None:
        self._engine = engine
        self._settings = settings
        self._notifier = notifier

    def is_new(self, caller: Caller, request: ExperimentRequest, key: str | None) -> bool:
        """Whether :meth:`start` would start it now, as far as can be told before its grants are asked for.

        Raises as :meth:`start` does.
        """
        with read_transaction(self._engine) as connection:
            if key is not None and earlier(connection, caller, key, request) is not None:
                return False
            Quotas(self._settings).check_start(connection, caller.sub)
            _placed(connection, self._settings, _tool(connection, request), request, acceptance=False)
        return True

    def dry_run(self, caller: Caller, request: ExperimentRequest) -> Rehearsal:
        """What :meth:`start` would come to now, as far as can be told before its grants are asked for; writes nothing.

        Raises as :meth:`start` does.
        """
        with read_transaction(self._engine) as connection:
            quotas = Quotas(self._settings)
            quotas.check_start(connection, caller.sub)
            row = _tool(connection, request)
            placed = _placed(connection, self._settings, row, request, acceptance=False)
            quotas.check_size(caller.sub, placed)
            ids = dict.fromkeys(job.host for job in placed.jobs)
            found = {host: hosts.enrolled(connection, host) for host in ids}
            return Rehearsal(
                placed, tools.of_digest(connection, row.digest), row.digest, found,
                datasets.versions(connection, ids), quotas.left(connection, caller.sub), _images(connection, placed),
            )  # fmt: skip

    def start(
        self,
        caller: Caller,
        request: ExperimentRequest,
        key: str | None,
        answer: Answer[T],
        granted: Granted = _NOTHING,
    ) -> T:
        """Start an experiment, or find the one that the caller has started by the same request under ``key``.

        What ``answer`` makes of it. Raises as :func:`earlier`, :meth:`Quotas.check_start` and :func:`submit` do.
        """
        made = retry_on_conflict(lambda: self._write(caller, request, key, answer, granted))
        self._notifier.publish("outbox")
        self._notifier.publish("events")
        return made

    def _write(
        self, caller: Caller, request: ExperimentRequest, key: str | None, answer: Answer[T], granted: Granted
    ) -> T:
        with serialized_transaction(self._engine) as connection:
            known = None if key is None else earlier(connection, caller, key, request)
            if known is None:
                Quotas(self._settings).check_start(connection, caller.sub)
            experiment = known or submit(connection, self._settings, caller, request, key, time.time(), granted=granted)
            return answer(connection, experiment, known is not None)


def fingerprint(request: ExperimentRequest) -> str:
    """The same for requests that ask for the same."""
    newer = {name for name in _NEWER if not getattr(request, name)}  # a release that did not know it left it out
    return hashlib.sha256(canonical(request.model_dump(mode="json", exclude=newer))).hexdigest()


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
    granted: Granted = _NOTHING,
) -> str:
    """Place the request and write experiment, jobs and what may go at once; the experiment's id.

    ``acceptance``: it may go to hosts that are not accepted yet. ``granted``: what providers were asked and said.

    Raises :class:`InvalidInputError` that names every fault, :class:`TooLargeError`.
    """
    row = _tool(connection, request)
    tool = tools.of_digest(connection, row.digest)
    placed = _placed(connection, settings, row, request, acceptance=acceptance)
    Quotas(settings).check_size(caller.sub, placed)
    by_provider = told_by(granted, placed)
    placed = replace(placed, request=by_grants(granted, placed.request, placed))
    experiment = new_id("e")
    values = {**_experiment(placed, row, caller, now), "id": experiment}
    if request.lost_after is None:
        values["request"]["lost_after"] = tool.on_host_lost.lost_after
    values["request"]["told_by"] = by_provider  # also empty: without it, nobody knows
    if key is not None:
        values |= {"idempotency_key": key, "fingerprint": fingerprint(request)}
    drafts = Drafts(
        experiment,
        ToolRef(id=tool.id, version=tool.version, digest=row.digest),
        User(sub=caller.sub, name=caller.name),
        placed.request,
        windows(tool, now, placed.request.start_within, settings.hold_seconds, settings.release_days * _DAY),
        gang_tasks(tool),
        granted,
        by_provider,
    )
    ids = sorted(new_id("j") for _ in placed.jobs)
    drafts.masks = _masks(connection, tool, placed, ids)
    drafts.shown = shown_to(connection, tool, placed.jobs)
    rows = _jobs(experiment, placed, drafts, goes_ahead(placed, groups(tool)), ids)
    shared.keep(connection, experiment, drafts.parts.values())
    experiments.add(connection, values, rows)
    log_queue.add(connection, [LogEntry(SUBMITTED, {"experiment": experiment})])
    if granted.session is not None:
        delegations.keep(connection, experiment, granted.session, now)
    advance(connection, experiment, now)
    return experiment


def _images(connection: Connection, placed: Plan) -> dict[tuple[str, str], ImagingSummary]:
    """What the images are of which something is selected, by host and dataset, where their host tells it."""
    versions = {(job.host, use.id): use.version for job in placed.jobs for use in job.datasets}
    selected = {(job.host, name) for job in placed.jobs for name in job.selections}
    found = {
        place: page.imaging
        for place in selected
        for page in dataset_columns.of_dataset(connection, *place, versions[place] or "")[:1]
    }
    return {place: ImagingSummary.model_validate(images) for place, images in found.items() if images is not None}


def _tool(connection: Connection, request: ExperimentRequest) -> Row[Any]:
    try:
        return tools.find(connection, request.tool, request.version)
    except NotFoundError as error:
        where, cure = error.detail.get("where", "tool"), "fedproc tools lists them"
        errors = [{"where": where, "what": error.message, "cure": cure}]
        raise InvalidInputError(error.message, code="placement", errors=errors) from error


def _placed(
    connection: Connection, settings: CentralSettings, row: Row[Any], request: ExperimentRequest, *, acceptance: bool
) -> Plan:
    tool = tools.of_digest(connection, row.digest)
    known = facts_of(connection, named_hosts(request, settings.aggregator))
    return plan(
        request, tool, known, settings.aggregator, acceptance=acceptance, names=lambda: hosts.active_ids(connection)
    )


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
        "prepare": HELD if placed.request.prepare else None,
    }


def _jobs(
    experiment: str, placed: Plan, drafts: Drafts, ahead: frozenset[tuple[str, str]], ids: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of the plan's jobs, in the order of it and of ``ids``. ``ahead``: see :func:`goes_ahead`."""
    return [
        {**_job(experiment, job_id, job, drafts), "told": [AHEAD] if (job.task.name, job.host) in ahead else []}
        for job_id, job in zip(ids, placed.jobs, strict=True)
    ]


def _masks(connection: Connection, tool: Tool, placed: Plan, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By task whose outputs leave masked: each host's job, of those of the plan in its order, and its key."""
    found: dict[str, dict[str, Any]] = {}
    for job_id, job in zip(ids, placed.jobs, strict=True):
        if masked_outputs(tool.parameters, placed.request.parameters, job.task.name):
            key = hosts.enrolled(connection, job.host).public_key
            found.setdefault(job.task.name, {})[job.host] = {"job": job_id, "key": key}
    return found


def _job(experiment: str, job_id: str, job: Placed, drafts: Drafts) -> dict[str, Any]:
    window = drafts.windows[job.task.name]
    return {
        "id": job_id,
        "experiment": experiment,
        "host": job.host,
        "task": job.task.name,
        "state": "queued",
        "gang": job.task.name in drafts.gang,
        "order": drafts.draft(job_id, job),
        "shared": [drafts.parts[job.task.name].id],
        "datasets": [use.model_dump(mode="json") for use in job.datasets],
        "uploads_missing": sum(entry.kind == "upload" and not entry.optional for entry in job.task.inputs),
        "start_by": window.start_by,
        "end_by": window.end_by,
        "release_by": window.release_by,
    }
