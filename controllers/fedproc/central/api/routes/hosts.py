"""Hosts of the federation, what they offer, and how the whole stands (D6.1)."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import TypeAdapter
from sqlalchemy import Row
from starlette.responses import Response

from fedproc.central.api.deps import (
    AppState,
    HostCaller,
    Operator,
    Researcher,
    app_state,
    asked_by_operator,
    audit_event,
)
from fedproc.central.api.health import check_health
from fedproc.central.api.routes.common import HostPath, add_alias, answer, answer_list, router
from fedproc.central.api.views import host_report_view, host_view
from fedproc.central.auth.tokens import Caller
from fedproc.central.db.engine import read_transaction, retry_on_conflict, serialized_transaction
from fedproc.central.db.repositories import datasets, enrolments, hosts
from fedproc.central.experiments import reconcile, revocation
from fedproc.central.experiments.advance import advance_waiting
from fedproc.central.tlog import witness
from fedproc.common.errors import ConflictError, ForbiddenError, InvalidInputError
from fedproc.common.keys import load_key, public_jwk
from fedproc.contract.api.base import Line
from fedproc.contract.api.hosts import (
    HostDraining,
    HostEnrolment,
    HostReportView,
    HostRevocation,
    HostView,
    OpenJobsAnswer,
    OpenJobsReport,
)
from fedproc.contract.api.operations import Health
from fedproc.contract.ids import HOST_PATTERN
from fedproc.contract.wire.logs import WitnessExchange

routes = router("hosts")

_HOSTS = TypeAdapter(list[HostView])
_REPORTS = TypeAdapter(list[HostReportView])
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@routes.get("/hosts/", response_model=list[HostView])
def list_hosts(
    request: Request,
    caller: Researcher,
    all: Annotated[bool, Query(description="for operators: revoked ones, too")] = False,
    text: Annotated[Line, Query(max_length=200, description="each word in id, site or location")] = "",
    show: Annotated[
        Literal["alive", "accepting", "well", "trouble", "drained", "revoked"] | None,
        Query(description="accepting: takes jobs now; well: and nothing is amiss; trouble: not well"),
    ] = None,
    id: Annotated[
        list[Annotated[str, Query(pattern=HOST_PATTERN)]] | None, Query(max_length=500, description="only these")
    ] = None,
    brief: Annotated[bool, Query(description="without the ids of their datasets")] = False,
    count: Annotated[bool, Query(description="the header Total-Count: how many there are on all pages")] = False,
    offset: Annotated[int, Query(ge=0, le=2**31, description="how many are passed over")] = 0,
    limit: Annotated[int | None, Query(ge=1, le=1000, description="all unless given")] = None,
) -> Response:
    """The active hosts of the federation, by id."""
    app = app_state(request)
    if (all or show == "revoked") and not caller.operates:
        raise ForbiddenError(
            "revoked hosts are for operators; without all=true you see the others", code="forbidden.role"
        )
    wanted = hosts.Wanted(time.time() - app.heartbeat_timeout, all or show == "revoked", text, show, id or ())
    with read_transaction(app.engine) as connection:
        rows = hosts.page(connection, wanted, offset, limit)
        offered = {} if brief else datasets.versions(connection, None if limit is None else [row.id for row in rows])
        headers = {"Total-Count": str(hosts.count(connection, wanted))} if count else None
    found = [host_view(row, app.heartbeat_timeout, offered.get(row.id, ())) for row in rows]
    return answer_list(_HOSTS, found, headers)


@routes.get("/hosts/health/", response_model=Health, responses={503: {"model": Health}})
async def get_health(request: Request) -> Response:
    """Whether database, broker, issuer and relay work, and which hosts are up; 503 if the centre fails.

    An operator's token shows what is wrong with each; others are told ``fails`` and ``down``.
    """
    app = app_state(request)
    operators, public = await app.health.get(lambda: check_health(app))
    health = operators if await asked_by_operator(request) else public
    return answer(health, 200 if health.status == "ok" else 503, {"Cache-Control": "no-store"})


add_alias(routes, "/hosts/health", get_health)  # here, since the path of one host would match it, too


@routes.get("/hosts/reports", response_model=list[HostReportView])
def list_host_reports(request: Request, caller: Operator) -> Response:
    """The last whole check of every active host; for operators, because it tells where a hospital is weak."""
    with read_transaction(app_state(request).engine) as connection:
        rows = hosts.reports(connection)
    return answer_list(_REPORTS, [host_report_view(row) for row in rows])


@routes.get("/hosts/{host_id}", response_model=HostView)
def get_host(request: Request, host_id: HostPath, caller: Researcher) -> Response:
    """One host: its roles, location, how it is reached, resources, tools that its policy admits."""
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        row = hosts.enrolled(connection, host_id)
        offered = datasets.ids_of(connection, host_id)
    return answer(host_view(row, app.heartbeat_timeout, offered))


@routes.put("/hosts/{host_id}", response_model=HostView, responses={201: {"model": HostView}})
def enrol_host(request: Request, host_id: HostPath, body: HostEnrolment, caller: Operator) -> Response:
    """Enrol a host, or change what is known of it; ``active: false`` revokes it at once."""
    app = app_state(request)
    key = _enrolled_key(app, host_id) if body.public_key is None else _given_key(body.public_key)
    status, row = retry_on_conflict(lambda: _enrol(request, host_id, body, key))
    return _changed(app, row, status)


def _given_key(given: dict[str, Any]) -> dict[str, Any]:
    if _PRIVATE & given.keys():
        raise InvalidInputError(
            "public_key holds the private half, which must never leave its host: make a new key there",
            code="key.private",
        )
    try:
        return public_jwk(load_key(given))
    except ValueError as error:
        raise InvalidInputError(f"public_key: {error}", code="key") from error


def _enrolled_key(app: AppState, host: str) -> dict[str, Any]:
    with read_transaction(app.engine) as connection:
        row = enrolments.one(connection, host)
    if row is None or row.state != "confirmed":
        raise ConflictError(
            f"{host} has no confirmed enrolment to take the key from: confirm it, or give public_key",
            code="enrolment.state",
        )
    return public_jwk(load_key(row.public_key))


def _enrol(request: Request, host: str, body: HostEnrolment, key: dict[str, Any]) -> tuple[int, Row[Any]]:
    now = time.time()
    with serialized_transaction(app_state(request).engine) as connection:
        before = hosts.one(connection, host)
        status = 201 if hosts.enrol(connection, host, body, key, now) else 200
        detail = f"active={body.active} roles={body.roles} key={key['kid']}"
        audit_event(request).record(connection, status, host, detail)
        row = hosts.one(connection, host)
        assert row is not None
        revocation.propagate(connection, before, row, now)
    return status, row


def _changed(app: AppState, row: Row[Any], status: int = 200) -> Response:
    for topic in ("hosts", "outbox", "events"):
        app.notifier.publish(topic)
    with read_transaction(app.engine) as connection:
        offered = datasets.ids_of(connection, row.id)
    return answer(host_view(row, app.heartbeat_timeout, offered), status)


@routes.post("/hosts/{host_id}/revocation", response_model=HostView)
def revoke_host(request: Request, host_id: HostPath, body: HostRevocation, caller: Operator) -> Response:
    """Revoke a host at once: it may do nothing here, its jobs are ended, its connections with others are cut.

    To admit it again, enrol it again: with a new key, if the old one may be in wrong hands.
    """
    app, now = app_state(request), time.time()
    with serialized_transaction(app.engine) as connection:
        before = hosts.enrolled(connection, host_id)
        hosts.deactivate(connection, host_id)
        audit_event(request).record(connection, 200, host_id, body.reason)
        row = hosts.one(connection, host_id)
        assert row is not None
        revocation.propagate(connection, before, row, now)
    return _changed(app, row)


@routes.post("/hosts/{host_id}/drain", response_model=HostView)
def drain_host(request: Request, host_id: HostPath, body: HostDraining, caller: Operator) -> Response:
    """Let no new job go to a host: what is there goes on to its end, what was not sent waits until it is resumed.

    Again with another reason changes the reason. The site's own drain (``fedproc site drain``) is another matter.
    """
    return _drain(request, host_id, body.reason)


@routes.post("/hosts/{host_id}/resume", response_model=HostView)
def resume_host(request: Request, host_id: HostPath, caller: Operator) -> Response:
    """Let new jobs go to a host again; those that waited go first."""
    return _drain(request, host_id, None)


def _drain(request: Request, host: str, reason: str | None) -> Response:
    app = app_state(request)
    with serialized_transaction(app.engine) as connection:
        hosts.enrolled(connection, host)
        hosts.drain(connection, host, reason)
        audit_event(request).record(connection, 200, host, reason)
        if reason is None:
            advance_waiting(connection, time.time())
        row = hosts.one(connection, host)
        assert row is not None
    return _changed(app, row)


@routes.get("/hosts/{host_id}/witness", response_model=WitnessExchange)
def exchange_witness(
    request: Request,
    host_id: HostPath,
    caller: HostCaller,
    since: Annotated[int, Query(ge=0, le=2**62, description="entries of the centre's log that it has witnessed")] = 0,
) -> Response:
    """For a host: the centre's transparency log to witness, and what the centre has witnessed of the host's own."""
    app = app_state(request)
    _check_own(caller, host_id)
    with read_transaction(app.engine) as connection:
        kept = hosts.enrolled(connection, host_id).log
    return answer(WitnessExchange(centre=app.tlog.shown(since), witnessed=witness.view(kept)))


@routes.post("/hosts/{host_id}/witness/reset", response_model=HostView)
def reset_witness(request: Request, host_id: HostPath, body: HostRevocation, caller: Operator) -> Response:
    """Take a host's transparency log as it is now: its site has explained why it is not what it was."""
    app = app_state(request)
    with serialized_transaction(app.engine) as connection:
        hosts.enrolled(connection, host_id)
        hosts.forget_log(connection, host_id)
        audit_event(request).record(connection, 200, host_id, body.reason)
        row = hosts.one(connection, host_id)
        assert row is not None
    return _changed(app, row)


def _check_own(caller: Caller, host: str) -> None:
    if caller.host != host:
        raise ForbiddenError(f"the token is of host {caller.host}, not of {host}", code="forbidden.host")


@routes.post("/hosts/{host_id}/inventory", response_model=OpenJobsAnswer, name="take_inventory")
def report_open_jobs(request: Request, host_id: HostPath, body: OpenJobsReport, caller: HostCaller) -> Response:
    """A host tells all its open jobs, after its list and the centre's were found to differ."""
    app = app_state(request)
    _check_own(caller, host_id)
    with serialized_transaction(app.engine) as connection:
        result = reconcile.answer(connection, host_id, body)
        audit_event(request).record(connection, 200, host_id, f"epoch={body.epoch} jobs={len(body.jobs)}")
    app.notifier.publish("outbox")
    app.notifier.publish("events")
    return answer(result)


add_alias(routes, "/hosts", list_hosts)
