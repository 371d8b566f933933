"""How a host comes into the federation: it makes its key, asks with a code, and waits for its certificate.

All that comes of it is in one folder: ``host.key`` (0600), ``host.crt``, ``ca.crt``, ``keys/dispatch*.pub``,
``keys/catalogue*.pub``. The certificate is written last, so that a folder that has it has all.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any, Literal

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from fedproc.common.errors import FedprocError, ForbiddenError, InvalidInputError, UnavailableError
from fedproc.common.http import detail_of, is_problem, text_of
from fedproc.common.retry import Backoff
from fedproc.common.tls import client_context
from fedproc.contract.api.enrolments import Authority, Enrolled
from fedproc.contract.enrolment import (
    CODE_HEADER,
    certificate_sha256,
    fingerprint,
    make_request,
    same_fingerprint,
)
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.centre.enrolment.credentials import enrolled_key, keep, key_files, own_key
from fedproc.site.centre.enrolment.request import EnrolmentOptions, EnrolmentResult

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_REFUSALS = {403, 404, 409, 422}
Notify = Callable[[str], None]


class EnrolmentRefusedError(ForbiddenError):
    """The centre says no, to the code or to the request."""


def enrol(options: EnrolmentOptions, code: Callable[[], str], wait: float, notify: Notify) -> EnrolmentResult:
    """Enrol, or see that it is done; ``wait`` seconds at most for an operator's word. ``notify`` gets the fingerprint.

    Raises :class:`EnrolmentRefusedError`, :class:`InvalidInputError`, :class:`UnavailableError`.
    """
    folder = options.folder
    if not options.renew and (key := enrolled_key(folder, options.host)) is not None:
        return _result(options, key, "enrolled", changed=False)
    secret = code()
    own, made = own_key(folder)
    key = own.public_key()
    with _client(options) as http:
        body = {"code": secret, "request": make_request(own, options.host)}
        response = _ask(http, "PUT", f"/enrolments/{options.host}", json=body)
        notify(fingerprint(key))
        response = _await(http, options.host, secret, response, time.monotonic() + wait)
    if response.state != "confirmed":
        return _result(options, key, "requested", changed=made, response=response)
    changed = keep(options, key, response)
    return _result(options, key, "enrolled", changed=changed, response=response)


def _result(
    options: EnrolmentOptions,
    key: ec.EllipticCurvePublicKey,
    state: Literal["enrolled", "requested"],
    *,
    changed: bool,
    response: Enrolled | None = None,
) -> EnrolmentResult:
    centre = response.model_dump(include={"api_url", "issuer_url", "broker_host", "broker_port"}) if response else None
    return EnrolmentResult(
        host=options.host,
        state=state,
        fingerprint=fingerprint(key),
        changed=changed,
        folder=str(options.folder),
        dispatch_keys=key_files(options.folder, "dispatch"),
        catalogue_keys=key_files(options.folder, "catalogue"),
        centre=centre,
    )


def _client(options: EnrolmentOptions) -> httpx.Client:
    return _http(options, _trusted(options))


def _http(options: EnrolmentOptions, verify: ssl.SSLContext | bool) -> httpx.Client:
    return ProxyConnector(options.proxy).sync_http_client(options.url.rstrip("/"), verify, 30)


def _trusted(options: EnrolmentOptions) -> ssl.SSLContext:
    if options.ca_sha256 is not None:
        return ssl.create_default_context(cadata=_pinned_authority(options, options.ca_sha256))
    return client_context(options.ca_file)


def _pinned_authority(options: EnrolmentOptions, expected: str) -> str:
    """The authority's certificate, fetched before anything is trusted: it counts only if it has the hash."""
    with _http(options, verify=False) as http:
        found = Authority.model_validate_json(_send(http, "GET", "/authority").content)
    shown = certificate_sha256(found.certificate)
    if not same_fingerprint(shown, expected):
        raise EnrolmentRefusedError(
            f"{options.url} shows an authority with the sha256 {shown}, the operator told {expected}: nothing was "
            "sent; a proxy that inspects TLS may be between, or the hash is not that of this federation",
            code="enrolment.authority",
        )
    return found.certificate


def _await(http: httpx.Client, host: str, code: str, response: Enrolled, until: float) -> Enrolled:
    """Ask with growing pauses until it is decided; a centre that is unavailable for a moment is asked again."""
    backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
    while True:
        if response.state == "refused":
            raise EnrolmentRefusedError(f"{host} is refused: {response.reason}", code="enrolment.refused")
        left = until - time.monotonic()
        if response.state == "confirmed" or left <= 0:
            return response
        time.sleep(min(left, backoff.pause()))
        try:
            response = _ask(http, "GET", f"/enrolments/{host}", headers={CODE_HEADER: code})
        except UnavailableError:
            if time.monotonic() >= until:
                raise


def _ask(http: httpx.Client, method: str, path: str, **arguments: Any) -> Enrolled:
    answer = _send(http, method, path, **arguments)
    try:
        return Enrolled.model_validate_json(answer.content)
    except ValidationError as error:
        raise InvalidInputError(
            f"{http.base_url} does not answer as a federation's API does: is --url right?"
        ) from error


def _send(http: httpx.Client, method: str, path: str, **arguments: Any) -> httpx.Response:
    try:
        answer = http.request(method, path, **arguments)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnavailableError(f"{http.base_url} does not answer: {text_of(error)}") from error
    if answer.status_code < 400:
        return answer
    detail = detail_of(answer)
    if answer.status_code in _REFUSALS and is_problem(answer):
        raise EnrolmentRefusedError(detail, code="enrolment.refused")
    if answer.status_code in {408, 429} or answer.status_code >= 500:
        raise UnavailableError(f"{http.base_url}: {detail}")
    raise FedprocError(f"{http.base_url}{path}: {detail}")
