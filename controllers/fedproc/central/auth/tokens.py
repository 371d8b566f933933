"""Who calls: access tokens of the issuer, checked as a resource server does (RFC 9068, RFC 6750, RFC 8725)."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError

from fedproc.central.auth.issuer import Issuer
from fedproc.central.settings import IssuerSettings
from fedproc.common.errors import InvalidTokenError

_INCLUDED: Mapping[str, frozenset[str]] = {
    "admin": frozenset({"admin", "operator", "researcher"}),
    "operator": frozenset({"operator", "researcher"}),
    "researcher": frozenset({"researcher"}),
}
_TOKEN_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_NO_ACCESS_TOKEN = frozenset({"ID", "Refresh", "Offline", "Logout"})
_LEEWAY = 5.0
_REMEMBER_FOR = 300.0
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a token names: a user with roles, or a host (``host`` is its id)."""

    sub: str
    name: str
    roles: frozenset[str]
    host: str | None
    expires: float

    @property
    def operates(self) -> bool:
        """Whether the caller may see and stop what belongs to others."""
        return "operator" in self.roles

    @property
    def actor(self) -> str:
        """How the audit names the caller."""
        return f"host:{self.host}" if self.host else self.sub


class Verifier:
    """Checks tokens against the issuer's keys; remembers verified ones by their sha256 for five minutes at most."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._settings = issuer.settings
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()

    async def verify(self, token: str) -> Caller:
        """Raises :class:`InvalidTokenError` for a token that does not count here."""
        key = hashlib.sha256(token.encode()).digest()
        known = self._known.get(key)
        now = time.time()
        if known is not None and now < known[1]:
            self._known.move_to_end(key)
            return known[0]
        caller = await self._check(token, now)
        self._known[key] = (caller, min(caller.expires + _LEEWAY, now + _REMEMBER_FOR))
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return caller

    async def _check(self, token: str, now: float) -> Caller:
        claims = await self._claims(token)
        _check_claims(claims, self._settings, now)
        return _caller(claims, self._settings)

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jws.extract_compact(token.encode()).headers()
        except (JoseError, ValueError, UnicodeError) as error:
            raise invalid_token("it is no signed JWT") from error
        if header.get("alg") not in self._settings.algorithms:
            raise invalid_token(f"its algorithm is not one of {', '.join(self._settings.algorithms)}")
        if str(header.get("typ", "JWT")).lower() not in _TOKEN_TYPES:
            raise invalid_token("it is not an access token")
        key = await self._issuer.key(str(header.get("kid")))
        if key is None:
            raise invalid_token("it is signed by a key that the issuer does not publish")
        try:
            return jwt.decode(token, key, algorithms=[header["alg"]]).claims
        except (JoseError, ValueError, TypeError) as error:
            raise invalid_token("its signature is wrong") from error


def invalid_token(why: str) -> InvalidTokenError:
    """The error for a token that does not count here."""
    return InvalidTokenError(f"the token does not count: {why}; get a fresh one")


def _check_claims(claims: dict[str, Any], settings: IssuerSettings, now: float) -> None:
    if claims.get("iss") != settings.url:
        raise invalid_token("it is of another issuer")
    audience = claims.get("aud")
    if settings.audience not in (audience if isinstance(audience, list) else [audience]):
        raise invalid_token(f"it is not meant for {settings.audience}")
    if claims.get("typ") in _NO_ACCESS_TOKEN or "at_hash" in claims or "nonce" in claims:
        raise invalid_token("it is not an access token")
    if now >= _time(claims.get("exp")) + _LEEWAY:
        raise invalid_token("it has expired")
    if now < _time(claims.get("nbf", 0)) - _LEEWAY:
        raise invalid_token("it is not valid yet")


def _time(value: Any) -> float:
    """NumericDate (RFC 7519 section 2)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise invalid_token("its times are missing or no numbers")
    return float(value)


def _caller(claims: dict[str, Any], settings: IssuerSettings) -> Caller:
    sub = claims.get("sub")
    if not isinstance(sub, str) or not 0 < len(sub) <= 255 or not sub.isprintable():
        raise invalid_token("it names nobody (sub)")
    name = str(claims.get("name") or claims.get("preferred_username") or "")
    host = claims.get(settings.host_claim)
    if host is not None and not isinstance(host, str):
        raise invalid_token(f"its {settings.host_claim} is no host id")
    roles = frozenset() if host else _roles(claims, settings)
    return Caller(sub, "".join(filter(str.isprintable, name))[:200], roles, host, float(claims["exp"]))


def _roles(claims: dict[str, Any], settings: IssuerSettings) -> frozenset[str]:
    values = {value for path in settings.role_claims for value in _values(claims, path)}
    given = [role for role, names in settings.roles.items() if values.intersection(names)]
    return frozenset().union(*(_INCLUDED.get(role, {role}) for role in given))


def _values(claims: dict[str, Any], path: str) -> Iterable[str]:
    """The texts at ``path``: a claim's own name, which may hold dots, else the way through nested claims."""
    value: Any = claims.get(path)
    if value is None:
        value = claims
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    return [value] if isinstance(value, str) else [v for v in value or [] if isinstance(v, str)]
