"""How a host comes in: a single-use code, a key that the host makes itself, a fingerprint that people compare.

The certificate is made outside of the API, which cannot read the authority's key; an operator hands it in.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from pydantic import TypeAdapter
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fedproc.central.api.deps import AppState, Bearer, Operator, app_state, audit_event
from fedproc.central.api.enrolment_views import enrolled, enrolment_view, offered_authority
from fedproc.central.api.routes.common import HostPath, answer, answer_list, router
from fedproc.central.db.engine import read_transaction, retry_on_conflict, write_transaction
from fedproc.central.db.repositories import enrolments
from fedproc.common.errors import ConflictError, ForbiddenError, NotFoundError
from fedproc.contract.api.enrolments import (
    Authority,
    Enrolled,
    EnrolmentCertificate,
    EnrolmentCode,
    EnrolmentRefusal,
    EnrolmentRequest,
    EnrolmentView,
    NewEnrolment,
)
from fedproc.contract.enrolment import (
    CODE_HEADER,
    certificate_sha256,
    code_hash,
    fingerprint,
    new_code,
    public_pem,
    read_certificate,
    read_request,
)
from fedproc.contract.times import moment

routes = router("enrolment")

_VIEWS = TypeAdapter(list[EnrolmentView])
_NOT_KEPT = {"Cache-Control": "no-store"}
_OPERATOR = Bearer("operator")
_CODE_PROBLEMS = {
    "wrong": "is not the one that was given out last",
    "expired": "was given out too long ago",
    "void": "was tried wrongly too often",
}


@routes.get("/authority", response_model=Authority)
def get_authority(request: Request) -> Response:
    """The certificate by which the federation's hosts and servers are certified."""
    certificate = offered_authority(app_state(request))
    if certificate is None:
        raise NotFoundError("the centre does not know its authority: its operator sets 'authority' in its settings")
    return answer(Authority(certificate=certificate, sha256=certificate_sha256(certificate)))


@routes.post("/enrolments", response_model=EnrolmentCode, status_code=201)
def offer_enrolment(request: Request, body: NewEnrolment, caller: Operator) -> Response:
    """Give out a single-use code for a host; it makes an earlier one void. It is shown this once."""
    code, now = new_code(), time.time()
    expires = now + body.hours * 3600

    def write() -> None:
        with write_transaction(app_state(request).engine) as connection:
            enrolments.offer(connection, body.host, code_hash(code), now, expires)
            audit_event(request).record(connection, 201, body.host, f"hours={body.hours:g}")

    retry_on_conflict(write)
    return answer(EnrolmentCode(host=body.host, code=code, expires=moment(expires)), 201, _NOT_KEPT)


@routes.get("/enrolments", response_model=list[EnrolmentView])
def list_enrolments(request: Request, caller: Operator) -> Response:
    """The enrolments that are open: a code was given out, or a request waits for its certificate."""
    with read_transaction(app_state(request).engine) as connection:
        rows = enrolments.undecided(connection)
    return answer_list(_VIEWS, [enrolment_view(row) for row in rows])


@routes.put("/enrolments/{host_id}", response_model=Enrolled)
def request_enrolment(request: Request, host_id: HostPath, body: EnrolmentRequest) -> Response:
    """A host asks to be admitted, with the code that its site was given; the same request again changes nothing."""
    app = app_state(request)
    _check_code(request, host_id, body.code)
    key = read_request(body.request, host_id)
    values = {"request": body.request, "public_key": public_pem(key).decode(), "fingerprint": fingerprint(key)}
    with write_transaction(app.engine) as connection:
        if enrolments.bind(connection, host_id, code_hash(body.code), values, time.time()):
            audit_event(request).record(connection, 200, host_id, f"key={values['fingerprint']}")
    row = _row(app, host_id)
    if row.public_key != values["public_key"]:
        raise _bound(host_id, row)
    return answer(enrolled(app, row), 200, _NOT_KEPT)


def _bound(host: str, row: Row[Any]) -> ConflictError:
    return ConflictError(
        f"the code of {host} was used with another key already (sha256 {row.fingerprint}): if that is an earlier key "
        "of this machine, ask the federation's operator for a new code; if it is not, tell the operator to refuse it",
        code="enrolment.key",
    )


def _check_code(request: Request, host: str, code: str) -> Row[Any]:
    """The enrolment that the code belongs to. Raises :class:`ForbiddenError`, and counts a wrong one."""
    app, audit = app_state(request), audit_event(request)
    audit.actor, audit.target = f"enrolment:{host}", host
    with read_transaction(app.engine) as connection:
        row = enrolments.one(connection, host)
    code_state = enrolments.code_state(row, code_hash(code), time.time())
    if row is not None and code_state == "good":
        return row
    audit.is_action, audit.detail = True, f"code={code_state}"
    if row is not None and code_state == "wrong":
        with write_transaction(app.engine) as connection:
            enrolments.count_wrong(connection, host)
    raise ForbiddenError(
        f"the code for {host} {_CODE_PROBLEMS[code_state]}: check host id and code, or ask the federation's operator "
        "for a new code",
        code="enrolment.code",
    )


async def _reader(
    request: Request,
    host_id: HostPath,
    code: Annotated[str | None, Header(alias=CODE_HEADER, max_length=64, description="the host's code")] = None,
) -> bool:
    """Whether it is the host that asks, with its code; otherwise an operator must."""
    if code is None:
        await _OPERATOR(request)
        return False
    await run_in_threadpool(_check_code, request, host_id, code)
    return True


@routes.get("/enrolments/{host_id}", response_model=EnrolmentView | Enrolled)
def get_enrolment(request: Request, host_id: HostPath, is_host: Annotated[bool, Depends(_reader)]) -> Response:
    """How far an enrolment is: for its host with the code in ``Enrolment-Code``, or for operators with a token."""
    app = app_state(request)
    row = _row(app, host_id)
    return answer(enrolled(app, row) if is_host else enrolment_view(row), 200, _NOT_KEPT)


@routes.post("/enrolments/{host_id}/certificate", response_model=EnrolmentView)
def confirm_enrolment(request: Request, host_id: HostPath, body: EnrolmentCertificate, caller: Operator) -> Response:
    """Hand in the certificate of the host's key, after its fingerprint was compared; the host fetches it."""
    app = app_state(request)
    row = _requested(app, host_id)
    key = read_certificate(body.certificate, host_id, offered_authority(app))
    if public_pem(key).decode() != row.public_key:
        raise ConflictError(
            f"the certificate is of the key {fingerprint(key)}, the request of {host_id} of {row.fingerprint}: sign "
            "the request that stands there now",
            code="enrolment.key",
        )
    return _decide(request, row, f"key={row.fingerprint}", state="confirmed", certificate=body.certificate)


@routes.post("/enrolments/{host_id}/refusal", response_model=EnrolmentView)
def refuse_enrolment(request: Request, host_id: HostPath, body: EnrolmentRefusal, caller: Operator) -> Response:
    """Refuse a host's request, for example because its fingerprint is not what the site says."""
    row = _requested(app_state(request), host_id)
    if row.state == "confirmed":
        raise ConflictError(f"{host_id} has its certificate already: revoke the host instead", code="enrolment.state")
    return _decide(request, row, body.reason, state="refused", reason=body.reason)


def _decide(request: Request, row: Row[Any], detail: str, **values: Any) -> Response:
    app = app_state(request)
    with write_transaction(app.engine) as connection:
        if not enrolments.decide(connection, row.host, row, time.time(), **values):
            raise ConflictError(f"the enrolment of {row.host} was changed just now: look again", code="enrolment.state")
        audit_event(request).record(connection, 200, row.host, detail)
    return answer(enrolment_view(_row(app, row.host)))


def _requested(app: AppState, host: str) -> Row[Any]:
    row = _row(app, host)
    if row.state in {"offered", "refused"}:
        what = "no request has come yet: the site runs `fedproc site enrol`" if row.state == "offered" else (
            "its request was refused: give out a new code"
        )  # fmt: skip
        raise ConflictError(f"{host}: {what}", code="enrolment.state")
    return row


def _row(app: AppState, host: str) -> Row[Any]:
    with read_transaction(app.engine) as connection:
        row = enrolments.one(connection, host)
    if row is None:
        raise NotFoundError(f"no code was given out for {host}: fedproc hosts code {host} gives one")
    return row
