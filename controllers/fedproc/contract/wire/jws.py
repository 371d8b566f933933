"""Signing and reading of messages, manifests and artefacts (JOSE: RFC 7515, 7516, 7638; ES256 on P-256).

One key of a host serves as signature key, TLS key and receiver of encrypted artefacts. ``kid`` is always the
key's RFC 7638 thumbprint.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from joserfc import jwe, jws
from joserfc.errors import JoseError
from joserfc.jwe import JWERegistry
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from pydantic import ValidationError

from fedproc.common.errors import TooLargeError, UnreadableError
from fedproc.common.keys import ALGORITHM, Signer, load_key
from fedproc.common.validation import lines_of
from fedproc.contract.wire import limits
from fedproc.contract.wire.messages import TYPE_OF, TYPES, VERSION, VERSIONS_READ, Envelope, Wire

CENTRAL = "central"
MESSAGE_TYP = "fedproc-message+jws"
MANIFEST_TYP = "fedproc-manifest+jws"
_MOST = {MESSAGE_TYP: limits.MESSAGE_BYTES, MANIFEST_TYP: limits.MANIFEST_BYTES}
_REGISTRY = JWSRegistry(algorithms=[ALGORITHM])
_REGISTRY.max_payload_length = max(_MOST.values())
"""the library's own limit, 128,000 bytes, is not ours: see :func:`verify`"""


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no white space, UTF-8 (RFC 8785 for the values that manifests hold)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """``sha256:`` and the hash of the value's canonical JSON."""
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()


def verify(token: str | bytes, keys: Mapping[str, ECKey], *, typ: str) -> bytes:
    """The payload of a compact JWS signed by one of ``keys`` (by kid). Raises :class:`UnreadableError`."""
    most = _MOST.get(typ, limits.MESSAGE_BYTES)
    if len(token) > most:
        raise UnreadableError(f"has {limits.text(len(token))}; {limits.text(most)} are read", code="unreadable.size")

    def trusted(signed: Any) -> ECKey:
        header = signed.headers()
        key = keys.get(str(header.get("kid")))
        if key is None:
            raise UnreadableError(
                f"signed by key {header.get('kid')!r}, which is not trusted here", code="unreadable.key"
            )
        if header.get("typ") != typ:
            raise UnreadableError(f"is a {header.get('typ')!r}, expected {typ!r}", code="unreadable.type")
        return key

    try:
        return jws.deserialize_compact(token, trusted, registry=_REGISTRY).payload
    except (JoseError, ValueError, UnicodeError, TypeError, AttributeError) as error:
        raise UnreadableError(f"no valid signature: {error}", code="unreadable.signature") from error


def sign(payload: bytes, signer: Signer, *, typ: str, most: int | None = None) -> str:
    """A compact JWS over ``payload``, of ``most`` bytes or what a ``typ`` may have.

    Raises :class:`TooLargeError` for one that its reader would not take.
    """
    token, allowed = signer.sign(payload, typ=typ), min(most or _MOST[typ], _MOST[typ])
    if len(token) > allowed:
        raise TooLargeError(
            f"signed, it has {limits.text(len(token))}; a {typ} may have {limits.text(allowed)}: send less at once,"
            " or what there is in fewer files"
        )
    return token


def check_size(size: int, kind: str) -> None:
    """Whether a sealed message of a kind has no more than that may have. Raises :class:`UnreadableError`."""
    if size > (most := limits.most_of(kind)):
        raise UnreadableError(
            f"has {limits.text(size)}; {limits.text(most)} are read of a {kind}", code="unreadable.size"
        )


def seal(
    message: Wire,
    signer: Signer,
    *,
    iss: str,
    aud: str,
    iat: float | None = None,
    exp: float | None = None,
    crit: tuple[str, ...] = (),
) -> bytes:
    """The signed bytes of one message as they go to the broker; ``iat`` is now unless given.

    Raises :class:`TooLargeError`.
    """
    body = message.model_dump(mode="json", exclude_defaults=True)
    return seal_body(TYPE_OF[type(message)], body, signer, iss=iss, aud=aud, iat=iat, exp=exp, crit=crit)


def seal_body(
    type_: str,
    body: dict[str, Any],
    signer: Signer,
    *,
    iss: str,
    aud: str,
    iat: float | None = None,
    exp: float | None = None,
    crit: tuple[str, ...] = (),
) -> bytes:
    """As :func:`seal`, for a body that is JSON already."""
    envelope = Envelope(
        v=VERSION,
        type=type_,
        iss=iss,
        aud=aud,
        iat=time.time() if iat is None else iat,
        exp=exp,
        jti=uuid.uuid4().hex,
        crit=crit,
        body=body,
    )
    try:
        return sign(envelope.model_dump_json().encode(), signer, typ=MESSAGE_TYP, most=limits.most_of(type_)).encode()
    except TooLargeError as error:
        raise TooLargeError(f"{type_} for {aud}: {error.message}") from error


def unseal(raw: bytes, keys: Mapping[str, ECKey], *, aud: str) -> tuple[Envelope, Wire]:
    """Verify and read one message from the wire.

    Raises :class:`UnreadableError` with a code: ``unreadable.signature``, ``.key``, ``.type``, ``.audience``,
    ``.version``, ``.crit``, ``.schema`` or ``.size``. ``exp`` is left to the caller, who may know that its
    clock is off.
    """
    payload = verify(raw, keys, typ=MESSAGE_TYP)
    try:
        envelope = Envelope.model_validate_json(payload)
    except ValidationError as error:
        raise UnreadableError(f"no envelope: {lines_of(error)[0]}", code="unreadable.schema") from error
    check_size(len(raw), envelope.type)
    if envelope.aud != aud:
        raise UnreadableError(f"is meant for {envelope.aud!r}, not for {aud!r}", code="unreadable.audience")
    if envelope.v not in VERSIONS_READ:
        raise UnreadableError(
            f"has schema version {envelope.v}; this program reads {list(VERSIONS_READ)}: update it",
            code="unreadable.version",
        )
    return envelope, _body(envelope)


def _body(envelope: Envelope) -> Wire:
    model = TYPES.get(envelope.type)
    if model is None:
        raise UnreadableError(f"message type {envelope.type!r} is not known: update", code="unreadable.type")
    if unknown := set(envelope.crit) - model.model_fields.keys():
        raise UnreadableError(f"critical fields not known here: {sorted(unknown)}", code="unreadable.crit")
    try:
        return model.model_validate(envelope.body)
    except ValidationError as error:
        raise UnreadableError(f"{envelope.type}: {lines_of(error)[0]}", code="unreadable.schema") from error


_JWE = {"alg": "ECDH-ES", "enc": "A256GCM"}


def encrypt_to(payload: bytes, recipient: Mapping[str, Any]) -> bytes:
    """A compact JWE (ECDH-ES, A256GCM) that only the owner of the key ``recipient`` (public JWK) can read.

    Raises :class:`UnreadableError` if that is no key.
    """
    try:
        key = load_key({name: recipient[name] for name in ("kty", "crv", "x", "y")})
    except (ValueError, KeyError) as error:
        raise UnreadableError(f"the recipient's key is none: {error}", code="unreadable.key") from error
    return jwe.encrypt_compact({**_JWE, "kid": key.thumbprint()}, payload, key, algorithms=list(_JWE.values())).encode()


def decrypt(token: bytes, key: ECKey) -> bytes:
    """The plain bytes of a JWE to ``key``, however many: who fetched it bounded them.

    Raises :class:`UnreadableError`.
    """
    registry = JWERegistry(algorithms=list(_JWE.values()))
    registry.max_ciphertext_length = len(token)
    try:
        plain = jwe.decrypt_compact(token, key, registry=registry).plaintext
    except (JoseError, ValueError, TypeError, KeyError) as error:  # KeyError: a curve that joserfc does not know
        raise UnreadableError(f"artefact cannot be decrypted with this host's key: {error}") from error
    if plain is None:
        raise UnreadableError("artefact holds nothing")
    return plain
