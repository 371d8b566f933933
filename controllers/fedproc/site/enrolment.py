"""How a host comes into the federation: it makes its key, asks with a code, and waits for its certificate.

All that comes of it is in one folder: ``host.key`` (0600), ``host.crt``, ``ca.crt``, ``keys/dispatch*.pub``,
``keys/catalogue*.pub``. The certificate is written last, so that a folder that has it has all.
"""

from __future__ import annotations

import os
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from fedproc.contract.api import Authority, Enrolled
from fedproc.contract.enrolment import (
    CODE_HEADER,
    certificate_sha256,
    fingerprint,
    make_request,
    public_pem,
    read_certificate,
    same_fingerprint,
)
from fedproc.contract.errors import FedprocError, Forbidden, InvalidInput, Unavailable
from fedproc.contract.jws import load_key
from fedproc.site.way_out import WayOut

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_REFUSALS = {403, 404, 409, 422}

Tell = Callable[[str], None]


class EnrolmentRefused(Forbidden):
    """The centre says no, to the code or to the request."""


@dataclass(frozen=True)
class Asking:
    """What the site's operator gives: whom to ask, as which host, with which code, and what to trust."""

    url: str
    host: str
    folder: Path
    ca_file: Path | None = None
    ca_sha256: str | None = None
    renew: bool = False
    """ask for a new certificate, though there is one that is good"""
    proxy: str | None = None
    """http://[user:password@]host:port; the environment's unless given"""


@dataclass(frozen=True)
class Outcome:
    """``state`` ``requested`` is: an operator has not confirmed yet. ``changed``: something was written here."""

    host: str
    state: Literal["enrolled", "requested"]
    fingerprint: str
    changed: bool
    folder: str
    dispatch_keys: list[str]
    catalogue_keys: list[str]
    centre: dict[str, Any] | None = None
    """addresses, if the centre was asked"""


def enrol(asking: Asking, code: Callable[[], str], wait: float, tell: Tell) -> Outcome:
    """Enrol, or see that it is done; ``wait`` seconds at most for an operator's word. ``tell`` gets the fingerprint.

    Raises :class:`EnrolmentRefused`, :class:`InvalidInput`, :class:`Unavailable`.
    """
    folder = asking.folder
    if not asking.renew and (present := _present(folder, asking.host)) is not None:
        return _outcome(asking, present, "enrolled", changed=False)
    secret = code()
    key, made = _own_key(folder)
    with _client(asking) as http:
        body = {"code": secret, "request": make_request(key, asking.host)}
        said = _ask(http, "PUT", f"/enrolments/{asking.host}", json=body)
        tell(fingerprint(key.public_key()))
        said = _await(http, asking.host, secret, said, time.monotonic() + wait)
    if said.state != "confirmed":
        return _outcome(asking, key.public_key(), "requested", changed=made, said=said)
    changed = _write_down(folder, key.public_key(), said)
    return _outcome(asking, key.public_key(), "enrolled", changed=changed, said=said)


def _outcome(
    asking: Asking,
    key: ec.EllipticCurvePublicKey,
    state: Literal["enrolled", "requested"],
    *,
    changed: bool,
    said: Enrolled | None = None,
) -> Outcome:
    centre = said.model_dump(include={"api_url", "issuer_url", "broker_host", "broker_port"}) if said else None
    return Outcome(
        host=asking.host,
        state=state,
        fingerprint=fingerprint(key),
        changed=changed,
        folder=str(asking.folder),
        dispatch_keys=_kept(asking.folder, "dispatch"),
        catalogue_keys=_kept(asking.folder, "catalogue"),
        centre=centre,
    )


# -- the folder ------------------------------------------------------------------------------------


def _kept(folder: Path, name: str) -> list[str]:
    return sorted(str(path) for path in (folder / "keys").glob(f"{name}*.pub"))


def _present(folder: Path, host: str) -> ec.EllipticCurvePublicKey | None:
    """The key of a folder that holds all that enrolment gives; None if something is missing, or too old."""
    paths = folder / "host.key", folder / "host.crt", folder / "ca.crt"
    if not all(path.exists() for path in paths) or not _kept(folder, "dispatch") or not _kept(folder, "catalogue"):
        return None
    key = _load(paths[0]).public_key()
    try:
        certified = read_certificate(paths[1].read_text(), host, paths[2].read_text())
    except InvalidInput:
        return None
    return key if public_pem(certified) == public_pem(key) else None


def _own_key(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, bool]:
    """The host's key, and whether it was made just now."""
    path = folder / "host.key"
    if path.exists():
        return _load(path), False
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, key.private_bytes(*form), 0o600)
    except OSError as fault:
        raise InvalidInput(f"{path} cannot be written: {fault.strerror}") from fault
    return key, True


def _load(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        if path.stat().st_mode & 0o077:
            raise InvalidInput(f"{path} may be read by others: chmod 600 {path}, or make a new key by removing it")
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as fault:
        raise InvalidInput(f"{path} cannot be read: {fault.strerror}") from fault
    except (ValueError, TypeError) as fault:
        raise InvalidInput(f"{path} is no private key in PEM form without a password") from fault
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput(f"{path} is not on curve P-256: remove it, and a fitting one is made")
    return key


def _write_down(folder: Path, key: ec.EllipticCurvePublicKey, said: Enrolled) -> bool:
    """Check what the centre gave, then write what is new of it; what is not to be trusted leaves all as it was."""
    if said.authority is None or said.certificate is None:
        raise InvalidInput("the centre does not know its authority: its operator sets 'authority' in its settings")
    certified = read_certificate(said.certificate, said.host, said.authority)
    if public_pem(certified) != public_pem(key):
        raise InvalidInput("the certificate that came is not of this host's key: tell the federation's operator")
    texts = {**_named("dispatch", said.dispatch_keys), **_named("catalogue", said.catalogue_keys)}
    texts |= {"ca.crt": said.authority, "host.crt": said.certificate}
    try:
        (folder / "keys").mkdir(exist_ok=True)
        new = {name: text for name, text in texts.items() if not _has(folder / name, text)}
        for name, text in new.items():
            _write(folder / name, text.encode(), 0o644)
    except OSError as fault:
        raise InvalidInput(f"{folder} cannot be written: {fault.strerror}") from fault
    return bool(new)


def _has(path: Path, text: str) -> bool:
    return path.exists() and path.read_bytes() == text.encode()


def _named(name: str, pems: list[str]) -> dict[str, str]:
    if not pems:
        raise InvalidInput(f"the centre gave no {name} keys: its operator looks at its settings")
    for pem in pems:
        try:
            load_key(pem)
        except ValueError as fault:
            raise InvalidInput(f"the centre gave a {name} key that cannot be used: {fault}") from fault
    return {f"keys/{name}{f'-{number}' if number > 1 else ''}.pub": pem for number, pem in enumerate(pems, 1)}


def _write(path: Path, content: bytes, mode: int) -> None:
    partial = path.with_name(path.name + ".part")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as target:
        os.fchmod(descriptor, mode)
        target.write(content)
        target.flush()
        os.fsync(descriptor)
    partial.rename(path)


# -- the centre ------------------------------------------------------------------------------------


def _client(asking: Asking) -> httpx.Client:
    return _http(asking, _trusted(asking))


def _http(asking: Asking, verify: ssl.SSLContext | bool) -> httpx.Client:
    return WayOut(asking.proxy).http_in_turn(asking.url.rstrip("/"), verify, 30)


def _trusted(asking: Asking) -> ssl.SSLContext:
    if asking.ca_sha256 is not None:
        return ssl.create_default_context(cadata=_pinned_authority(asking, asking.ca_sha256))
    try:
        return ssl.create_default_context(cafile=str(asking.ca_file) if asking.ca_file else None)
    except OSError as fault:
        raise InvalidInput(f"{asking.ca_file}: no certificate can be read: {fault}") from fault


def _pinned_authority(asking: Asking, expected: str) -> str:
    """The authority's certificate, fetched before anything is trusted: it counts only if it has the hash."""
    with _http(asking, verify=False) as http:
        found = Authority.model_validate_json(_send(http, "GET", "/authority").content)
    shown = certificate_sha256(found.certificate)
    if not same_fingerprint(shown, expected):
        raise EnrolmentRefused(
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
            raise EnrolmentRefused(f"{host} is refused: {said.reason}", code="enrolment.refused")
        left = until - time.monotonic()
        if said.state == "confirmed" or left <= 0:
            return said
        time.sleep(min(left, pause * random.uniform(0.8, 1.2)))  # noqa: S311
        pause = min(pause * 1.5, _LONGEST_PAUSE)
        try:
            said = _ask(http, "GET", f"/enrolments/{host}", headers={CODE_HEADER: code})
        except Unavailable:
            if time.monotonic() >= until:
                raise


def _ask(http: httpx.Client, method: str, path: str, **arguments: Any) -> Enrolled:
    answer = _send(http, method, path, **arguments)
    try:
        return Enrolled.model_validate_json(answer.content)
    except ValidationError as fault:
        raise InvalidInput(f"{http.base_url} does not answer as a federation's API does: is --url right?") from fault


def _send(http: httpx.Client, method: str, path: str, **arguments: Any) -> httpx.Response:
    try:
        answer = http.request(method, path, **arguments)
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise Unavailable(f"{http.base_url} does not answer: {fault or type(fault).__name__}") from fault
    if answer.status_code < 400:
        return answer
    detail, problem = _said(answer)
    if answer.status_code in _REFUSALS and problem:
        raise EnrolmentRefused(detail, code="enrolment.refused")
    if answer.status_code in {408, 429} or answer.status_code >= 500:
        raise Unavailable(f"{http.base_url}: {detail}")
    raise FedprocError(f"{http.base_url}{path}: {detail}")


def _said(answer: httpx.Response) -> tuple[str, bool]:
    """What a problem document says; whether it is one."""
    try:
        return str(answer.json()["detail"]), True
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}: {answer.text[:200]}", False
