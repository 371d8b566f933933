"""``/enrolments`` and ``/authority``: how a host comes in."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from fedproc.contract.api.base import Line, Request, View, shown
from fedproc.contract.ids import HostId, Sha256

EnrolmentState = Literal["offered", "requested", "confirmed", "refused"]
CODE_HOURS = 72.0
"""How long a single-use code is good unless its giver says otherwise: over a weekend."""


class NewEnrolment(Request):
    """``POST /enrolments`` by an operator: give out a code for a host. It makes an earlier code of that host void."""

    model_config = shown({"host": "UB", "hours": 48})

    host: HostId
    hours: float = Field(CODE_HOURS, gt=0, le=24 * 30, description="how long the code is good")


class EnrolmentCode(View):
    """The one time that a code is shown: the centre keeps its sha256 only."""

    host: HostId
    code: str
    expires: AwareDatetime


class EnrolmentRequest(Request):
    """``PUT /enrolments/{host}`` by the host: its certificate request, which the code admits."""

    code: str = Field(min_length=1, max_length=64)
    request: str = Field(min_length=1, max_length=16_384, description="PKCS #10, PEM, P-256, subject CN=HOST alone")


class EnrolmentCertificate(Request):
    """``POST /enrolments/{host}/certificate`` by an operator, who has compared the fingerprint."""

    certificate: str = Field(min_length=1, max_length=16_384, description="PEM, of the request's key and host")


class EnrolmentRefusal(Request):
    """``POST /enrolments/{host}/refusal`` by an operator."""

    reason: Line = Field(min_length=1, max_length=500)


class EnrolmentView(View):
    """``GET /enrolments/{host}`` for an operator: how far one enrolment is."""

    host: HostId
    state: EnrolmentState
    created: AwareDatetime
    expires: AwareDatetime = Field(description="of the code, as long as no request has come")
    void: bool = Field(False, description="the code was tried wrongly too often, or is too old: give out a new one")
    requested: AwareDatetime | None = None
    request: str | None = Field(None, description="PEM")
    public_key: str | None = Field(None, description="PEM")
    fingerprint: str | None = Field(None, description="sha256 of the key's SubjectPublicKeyInfo, in groups of four")
    decided: AwareDatetime | None = None
    certificate: str | None = Field(None, description="PEM")
    reason: str | None = Field(None, description="of a refusal")


class Enrolled(View):
    """``GET /enrolments/{host}`` for the host, with its code: how far it is, and what it must know of the centre."""

    host: HostId
    state: EnrolmentState
    fingerprint: str | None = None
    certificate: str | None = Field(None, description="PEM, once it is confirmed")
    reason: str | None = Field(None, description="of a refusal")
    authority: str | None = Field(None, description="PEM: who certifies hosts and servers")
    dispatch_keys: list[str] = Field([], description="PEM, public: sign messages to hosts")
    catalogue_keys: list[str] = Field([], description="PEM, public: sign tools")
    api_url: str
    issuer_url: str
    broker_host: str
    broker_port: int


class Authority(View):
    """``GET /authority``: trust it only if ``sha256`` (of its DER form) is what the operator told."""

    certificate: str
    sha256: Sha256
