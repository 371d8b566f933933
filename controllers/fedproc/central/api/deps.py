"""What endpoints depend on: the application's shared object, who calls, and the action that is being recorded."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends
from fastapi.openapi.models import OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.security.base import SecurityBase
from joserfc.jwk import ECKey
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request

from fedproc.central.api.audit import AuditEvent
from fedproc.central.api.metrics import Metrics
from fedproc.central.api.rates import Rates
from fedproc.central.api.recent import Recent
from fedproc.central.api.streams import Streams
from fedproc.central.auth.issuer import Issuer
from fedproc.central.auth.sessions import Sessions
from fedproc.central.auth.tokens import Caller, Verifier, invalid_token
from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import hosts
from fedproc.central.experiments.submission import Submissions
from fedproc.central.files.blobs import Blobs
from fedproc.central.files.inputs import Inputs
from fedproc.central.files.signed_urls import SignedUrls
from fedproc.central.files.uploads import Uploads
from fedproc.central.grants.checks import GrantChecks
from fedproc.central.notify import Notifier
from fedproc.central.settings import CentralSettings, Role
from fedproc.central.tlog.witness import LogReader
from fedproc.common.errors import ForbiddenError, NotAuthenticatedError, TooManyRequestsError, UnavailableError
from fedproc.contract.api.hosts import DatasetFilters
from fedproc.contract.api.operations import Health

_LONGEST_TOKEN = 16_384


@dataclass(frozen=True)
class AppState:
    """What the endpoints of one application share; made by :func:`fedproc.central.api.app.create_app`."""

    settings: CentralSettings
    engine: Engine
    notifier: Notifier
    issuer: Issuer
    verifier: Verifier
    blobs: Blobs
    uploads: Uploads
    inputs: Inputs
    submissions: Submissions
    grant_checks: GrantChecks
    signed_urls: SignedUrls
    rates: Rates
    metrics: Metrics
    streams: Streams
    sessions: Sessions
    tlog: LogReader
    health: Recent[tuple[Health, Health]]
    """the last check of the centre, as operators see it, and as everybody does"""
    dataset_filters: Recent[DatasetFilters]
    catalogue_keys: Mapping[str, ECKey]
    """by kid: whose manifests are taken in"""

    @property
    def heartbeat_timeout(self) -> float:
        """Seconds after which a host that was not heard of counts as unreachable: three heartbeats."""
        return 3 * self.settings.heartbeat_seconds

    def url(self, path: str) -> str:
        """The address of ``path`` as users and hosts see it."""
        return self.settings.public_url.rstrip("/") + path


def app_state(request: HTTPConnection) -> AppState:
    """The shared object of the application that answers this request."""
    state: AppState = request.app.state.fedproc
    return state


def audit_event(request: HTTPConnection) -> AuditEvent:
    """The audit's entry of this request, as far as it is known."""
    event: AuditEvent = request.scope["fedproc.audit_event"]
    return event


class Bearer(SecurityBase):
    """A dependency: gives the caller if the token is good and the caller is what is asked for.

    ``who`` is a role, ``host`` (an enrolled, active host: looked up at each call, so that revoking one is
    immediate), or ``any`` (a host or a user).
    """

    def __init__(self, who: Role | Literal["host", "any"], *, read: Callable[[Request], str] | None = None) -> None:
        self.model = OAuth2(flows=OAuthFlows(password=OAuthFlowPassword(tokenUrl="token")))
        self.scheme_name = "oauth2"
        self._who = who
        self._read = read or bearer_token

    async def __call__(self, request: Request) -> Caller:
        caller = await app_state(request).verifier.verify(self._read(request))
        audit_event(request).actor = caller.actor
        if caller.host is not None:
            await self._host(request, caller.host)
            return caller
        _count(request, caller)
        if self._who != "any" and self._who not in caller.roles:
            raise ForbiddenError(
                f"this needs {self._whom()}; ask the federation's operator for it", code="forbidden.role"
            )
        elif not caller.roles:
            raise ForbiddenError("the token gives no role here; ask the federation's operator", code="forbidden.role")
        return caller

    async def _host(self, request: Request, host: str) -> None:
        if self._who not in {"host", "any"}:
            raise ForbiddenError(f"this needs {self._whom()}, and the token is a host's", code="forbidden.role")
        if not await run_in_threadpool(_is_active, request, host):
            raise ForbiddenError(f"host {host} is not enrolled or was revoked; ask the operator", code="forbidden.host")

    def _whom(self) -> str:
        return "a host's token" if self._who == "host" else f"the role {self._who}"


async def asked_by_operator(request: Request) -> bool:
    """Of what everybody may ask: whether an operator does. A token that does not count is as good as none."""
    try:
        caller = await app_state(request).verifier.verify(bearer_token(request))
    except (NotAuthenticatedError, UnavailableError):
        return False
    return caller.operates


def _count(request: Request, caller: Caller) -> None:
    """What is refused for its number is no act: it must not be written down each time."""
    try:
        app_state(request).rates.count(caller.sub)
    except TooManyRequestsError:
        audit_event(request).is_action = False
        raise


def _is_active(request: Request, host: str) -> bool:
    with read_transaction(app_state(request).engine) as connection:
        return hosts.is_active(connection, host)


def token_or_password(request: Request) -> str:
    """A token, sent as one or as the password of HTTP Basic: container engines and pip know no other way."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or len(value) > 2 * _LONGEST_TOKEN:
        return bearer_token(request)
    try:
        return base64.b64decode(value.strip(), validate=True).decode("ascii").partition(":")[2]
    except ValueError as error:
        raise invalid_token("the header must be 'Authorization: Basic …' with a token as the password") from error


def bearer_token(request: Request) -> str:
    """The one token of the request. Raises :class:`NotAuthenticatedError`."""
    values = request.headers.getlist("authorization")
    if not values:
        raise NotAuthenticatedError("this needs a token: POST /token gives one, send it as 'Authorization: Bearer …'")
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
        raise invalid_token("the header must be one 'Authorization: Bearer TOKEN'")
    return token.strip()


Researcher = Annotated[Caller, Depends(Bearer("researcher"))]
Operator = Annotated[Caller, Depends(Bearer("operator"))]
HostCaller = Annotated[Caller, Depends(Bearer("host"))]
AnyCaller = Annotated[Caller, Depends(Bearer("any"))]
