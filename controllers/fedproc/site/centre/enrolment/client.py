"""How a host comes into the federation: it makes its key, asks with a code, and waits for its certificate.

All that comes of it is in one folder: ``host.key`` (0600), ``host.crt``, ``ca.crt``, ``keys/dispatch*.pub``,
``keys/catalogue*.pub``. The certificate is written last, so that a folder that has it has all.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from typing import Any, Literal

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from fedproc.common.errors import FedprocError, ForbiddenError, InvalidInputError, UnavailableError
from fedproc.contract.api.enrolments import Authority, Enrolled
from fedproc.contract.enrolment import (
    CODE_HEADER,
    certificate_sha256,
    fingerprint,
    make_request,
    same_fingerprint,
)
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.centre.enrolment.credentials import kept, own_key, present, write_down
from fedproc.site.centre.enrolment.request import EnrolmentOptions, EnrolmentResult

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_REFUSALS = {403, 404, 409, 422}
Tell = Callable[[str], None]


class EnrolmentRefusedError(ForbiddenError):
    """The centre says no, to the code or to the request."""


def enrol(asking: EnrolmentOptions, code: Callable[[], str], wait: float, tell: Tell) -> EnrolmentResult:
    """Enrol, or see that it is done; ``wait`` seconds at most for an operator's word. ``tell`` gets the fingerprint.

    Raises :class:`EnrolmentRefusedError`, :class:`InvalidInputError`, :class:`UnavailableError`.
    """
    folder = asking.folder
    if not asking.renew and (key := present(folder, asking.host)) is not None:
        return _outcome(asking, key, "enrolled", changed=False)
    secret = code()
    own, made = own_key(folder)
    key = own.public_key()
    with _client(asking) as http:
        body = {"code": secret, "request": make_request(own, asking.host)}
        said = _ask(http, "PUT", f"/enrolments/{asking.host}", json=body)
        tell(fingerprint(key))
        said = _await(http, asking.host, secret, said, time.monotonic() + wait)
    if said.state != "confirmed":
        return _outcome(asking, key, "requested", changed=made, said=said)
    changed = write_down(asking, key, said)
    return _outcome(asking, key, "enrolled", changed=changed, said=said)


def _outcome(
    asking: EnrolmentOptions,
    key: ec.EllipticCurvePublicKey,
    state: Literal["enrolled", "requested"],
    *,
    changed: bool,
    said: Enrolled | None = None,
) -> EnrolmentResult:
    centre = said.model_dump(include={"api_url", "issuer_url", "broker_host", "broker_port"}) if said else None
    return EnrolmentResult(
        host=asking.host,
        state=state,
        fingerprint=fingerprint(key),
        changed=changed,
        folder=str(asking.folder),
        dispatch_keys=kept(asking.folder, "dispatch"),
        catalogue_keys=kept(asking.folder, "catalogue"),
        centre=centre,
    )


def _client(asking: EnrolmentOptions) -> httpx.Client:
    return _http(asking, _trusted(asking))


def _http(asking: EnrolmentOptions, verify: ssl.SSLContext | bool) -> httpx.Client:
    return ProxyConnector(asking.proxy).sync_http_client(asking.url.rstrip("/"), verify, 30)


def _trusted(asking: EnrolmentOptions) -> ssl.SSLContext:
    if asking.ca_sha256 is not None:
        return ssl.create_default_context(cadata=_pinned_authority(asking, asking.ca_sha256))
    try:
        return ssl.create_default_context(cafile=str(asking.ca_file) if asking.ca_file else None)
    except OSError as fault:
        raise InvalidInputError(f"{asking.ca_file}: no certificate can be read: {fault}") from fault


def _pinned_authority(asking: EnrolmentOptions, expected: str) -> str:
    """The authority's certificate, fetched before anything is trusted: it counts only if it has the hash."""
    with _http(asking, verify=False) as http:
        found = Authority.model_validate_json(_send(http, "GET", "/authority").content)
    shown = certificate_sha256(found.certificate)
    if not same_fingerprint(shown, expected):
        raise EnrolmentRefusedError(
            f"{asking.url} shows an authority with the sha256 {shown}, the operator told {expected}: nothing was sent; "
            "a proxy that inspects TLS may be between, or the hash is not that of this federation",
            code="enrolment.authority",
        )
    return found.certificate


def _await(http: httpx.Client, host: str, code: str, said: Enrolled, until: float) -> Enrolled:
    """Ask with growing pauses until it is decided; a centre that is away for a moment is asked again."""
    pause = _FIRST_PAUSE
    while True:
        if said.state == "refused":
            raise EnrolmentRefusedError(f"{host} is refused: {said.reason}", code="enrolment.refused")
        left = until - time.monotonic()
        if said.state == "confirmed" or left <= 0:
            return said
        time.sleep(min(left, pause * random.uniform(0.8, 1.2)))  # noqa: S311
        pause = min(pause * 1.5, _LONGEST_PAUSE)
        try:
            said = _ask(http, "GET", f"/enrolments/{host}", headers={CODE_HEADER: code})
        except UnavailableError:
            if time.monotonic() >= until:
                raise


def _ask(http: httpx.Client, method: str, path: str, **arguments: Any) -> Enrolled:
    answer = _send(http, method, path, **arguments)
    try:
        return Enrolled.model_validate_json(answer.content)
    except ValidationError as fault:
        raise InvalidInputError(
            f"{http.base_url} does not answer as a federation's API does: is --url right?"
        ) from fault


def _send(http: httpx.Client, method: str, path: str, **arguments: Any) -> httpx.Response:
    try:
        answer = http.request(method, path, **arguments)
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise UnavailableError(f"{http.base_url} does not answer: {fault or type(fault).__name__}") from fault
    if answer.status_code < 400:
        return answer
    detail, problem = _said(answer)
    if answer.status_code in _REFUSALS and problem:
        raise EnrolmentRefusedError(detail, code="enrolment.refused")
    if answer.status_code in {408, 429} or answer.status_code >= 500:
        raise UnavailableError(f"{http.base_url}: {detail}")
    raise FedprocError(f"{http.base_url}{path}: {detail}")


def _said(answer: httpx.Response) -> tuple[str, bool]:
    """What a problem document says; whether it is one."""
    try:
        return str(answer.json()["detail"]), True
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}: {answer.text[:200]}", False
