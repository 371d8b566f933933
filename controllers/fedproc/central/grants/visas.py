"""GA4GH visas (Passport v1, AAI 1.2), checked for one person. Pure: nothing is fetched, keys are pinned.

A visa counts if its issuer is pinned, its ``jku`` is the pinned one, a pinned key of that issuer signed it by ES256 or
RS256, it is valid now, and its subject is the person, or linked to the person by a visa of an issuer that may link.
One with conditions counts for nothing: none is known here, and who cannot evaluate a condition must refuse the visa.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key

ALGORITHMS = ("ES256", "RS256")
_LEEWAY = 5.0
_LONGEST = 32_768
_MOST = 500
_LONGEST_ID = 200
_LINKS = "LinkedIdentities"
_ACCESS = "ControlledAccessGrants"

Identity = tuple[str, str]
"""subject and issuer"""


class VisaError(ValueError):
    """Why a visa does not count."""


@dataclass(frozen=True)
class VisaIssuer:
    """One whose visas count. ``subjects_of`` is the issuer whose subjects its visas name."""

    iss: str
    jku: str
    keys: Mapping[str, Key]
    subjects_of: str
    types: frozenset[str]
    """the kinds of visa that count of it"""
    sources: frozenset[str] | None = None
    """organisations on whose word it may give access; None: all"""


@dataclass(frozen=True)
class Visa:
    """One that counts, but for whom it is about."""

    issuer: VisaIssuer
    identity: Identity
    type: str
    value: str
    source: str
    jti: str | None
    expires: float


@dataclass(frozen=True)
class Passport:
    """What of a person's visas counts, and why the others do not."""

    visas: tuple[Visa, ...]
    refused: tuple[str, ...]

    def grant(self, resource: str) -> Visa | None:
        """The visa that gives access to the resource for the longest time."""
        fit = [visa for visa in self.visas if visa.type == _ACCESS and visa.value == resource]
        return max(fit, key=lambda visa: visa.expires, default=None)


def passport(
    tokens: Sequence[Any], identities: Iterable[Identity], issuers: Mapping[str, VisaIssuer], now: float, age: float
) -> Passport:
    """Check what the broker sent as ``ga4gh_passport_v1`` for the person with these identities.

    ``age``: a visa that was asserted so many seconds ago, or before, counts no more.
    """
    if len(tokens) > _MOST:
        return Passport((), (f"there are {len(tokens)} visas; {_MOST} are looked at, so none counts",))
    good, refused = list[Visa](), list[str]()
    for token in tokens:
        try:
            good.append(_visa(token, issuers, now, age))
        except VisaError as error:
            refused.append(str(error))
    known = _linked(frozenset(identities), good)
    strangers = [f"a visa of {v.issuer.iss} is about somebody else" for v in good if v.identity not in known]
    return Passport(tuple(v for v in good if v.identity in known), (*refused, *strangers))


def _visa(token: Any, issuers: Mapping[str, VisaIssuer], now: float, age: float) -> Visa:
    claims, issuer = _signed_by_pinned(token, issuers)
    expires = _time(claims, "exp")
    if now >= expires + _LEEWAY:
        raise VisaError(f"a visa of {issuer.iss} has expired")
    if now < max(_time(claims, "nbf", 0.0), _time(claims, "iat")) - _LEEWAY:
        raise VisaError(f"a visa of {issuer.iss} is not valid yet")
    subject, about, jti = claims.get("sub"), claims.get("ga4gh_visa_v1"), claims.get("jti")
    if not isinstance(subject, str) or not _is_text(subject) or not isinstance(about, dict):
        raise VisaError(f"a visa of {issuer.iss} has no sub or no ga4gh_visa_v1")
    _check_object(about, issuer, now, age)
    permit = jti if isinstance(jti, str) and _is_text(jti) and len(jti) <= _LONGEST_ID else None
    named = about["type"], about["value"], about["source"]
    return Visa(issuer, (subject, issuer.subjects_of), *named, permit, expires)


def _check_object(about: Mapping[str, Any], issuer: VisaIssuer, now: float, age: float) -> None:
    if not all(_is_text(about.get(name)) for name in ("type", "value", "source")):
        raise VisaError(f"a visa of {issuer.iss} lacks its type, value or source")
    asserted = _time(about, "asserted")
    if asserted > now + _LEEWAY or asserted <= now - age:
        raise VisaError(f"a visa of {issuer.iss} was asserted too long ago, or is yet to be")
    if about.get("conditions"):
        raise VisaError(f"a visa of {issuer.iss} has conditions, none of which is known here")
    if about["type"] not in issuer.types:
        raise VisaError(f"{issuer.iss} gives no {about['type'][:60]} that counts here")
    if about["type"] == _ACCESS and issuer.sources is not None and about["source"] not in issuer.sources:
        raise VisaError(f"{issuer.iss} gives access on the word of a source that does not count here")


def _signed_by_pinned(token: Any, issuers: Mapping[str, VisaIssuer]) -> tuple[dict[str, Any], VisaIssuer]:
    if not isinstance(token, str) or len(token) > _LONGEST:
        raise VisaError("a visa is no JWT")
    try:
        read = jws.extract_compact(token.encode())
        header, unproved = read.headers(), json.loads(read.payload)
    except (JoseError, ValueError, UnicodeError, TypeError, RecursionError) as error:
        raise VisaError("a visa is no JWT") from error
    issuer = issuers.get(str(unproved.get("iss"))) if isinstance(unproved, dict) else None
    if issuer is None:
        raise VisaError("a visa is of an issuer that is not pinned")
    key = issuer.keys.get(str(header.get("kid")))
    if header.get("alg") not in ALGORITHMS or header.get("jku") != issuer.jku or key is None or "crit" in header:
        raise VisaError(f"a visa of {issuer.iss} names an algorithm, a jku or a key that is not pinned")
    try:
        return jwt.decode(token, key, algorithms=[header["alg"]]).claims, issuer
    except (JoseError, ValueError, TypeError) as error:
        raise VisaError(f"a visa of {issuer.iss} is not signed by it") from error


def _linked(own: frozenset[Identity], visas: Iterable[Visa]) -> frozenset[Identity]:
    """The person's identities with those that visas link to one of them, however many steps that takes."""
    links = [frozenset({visa.identity, *_identities(visa.value)}) for visa in visas if visa.type == _LINKS]
    known = own
    while more := [link for link in links if link & known and not link <= known]:
        known = known.union(*more)
    return known


def _identities(value: str) -> Iterator[Identity]:
    """``sub,iss`` pairs with semicolons between, each part percent-encoded (Passport v1, LinkedIdentities)."""
    for pair in value.split(";"):
        subject, comma, issuer = pair.partition(",")
        if subject and comma and issuer and "," not in issuer:
            yield unquote(subject), unquote(issuer)


def _time(claims: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise VisaError(f"a visa has no time {name}")
    return float(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 2000 and value.isprintable()
