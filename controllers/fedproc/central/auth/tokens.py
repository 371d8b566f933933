"""Who calls: access tokens of the issuer, checked as a resource server does (RFC 9068, RFC 6750, RFC 8725)."""

from __future__ import annotations

import base64
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fastapi.openapi.models import OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.security.base import SecurityBase
from joserfc import jws, jwt
from joserfc.errors import JoseError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from fedproc.central.api.audit import act_of
from fedproc.central.api.deps import centre_of
from fedproc.central.auth.issuer import Issuer
from fedproc.central.db.engine import reading
from fedproc.central.db.repositories import hosts
from fedproc.central.settings import IssuerSettings
from fedproc.common.errors import ForbiddenError, NotAuthenticatedError

Role = Literal["researcher", "operator", "admin"]

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
_LONGEST_TOKEN = 16_384


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
        """Raises :class:`NotAuthenticatedError` (code ``invalid_token``) for a token that does not count here."""
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
        except (JoseError, ValueError, UnicodeError) as fault:
            raise _refuse("it is no signed JWT") from fault
        if header.get("alg") not in self._settings.algorithms:
            raise _refuse(f"its algorithm is not one of {', '.join(self._settings.algorithms)}")
        if str(header.get("typ", "JWT")).lower() not in _TOKEN_TYPES:
            raise _refuse("it is not an access token")
        key = await self._issuer.key(str(header.get("kid")))
        if key is None:
            raise _refuse("it is signed by a key that the issuer does not publish")
        try:
            return jwt.decode(token, key, algorithms=[header["alg"]]).claims
        except (JoseError, ValueError, TypeError) as fault:
            raise _refuse("its signature is wrong") from fault


def _refuse(why: str) -> NotAuthenticatedError:
    return NotAuthenticatedError(f"the token does not count: {why}; get a fresh one", code="invalid_token")


def _check_claims(claims: dict[str, Any], settings: IssuerSettings, now: float) -> None:
    if claims.get("iss") != settings.url:
        raise _refuse("it is of another issuer")
    audience = claims.get("aud")
    if settings.audience not in (audience if isinstance(audience, list) else [audience]):
        raise _refuse(f"it is not meant for {settings.audience}")
    if claims.get("typ") in _NO_ACCESS_TOKEN or "at_hash" in claims or "nonce" in claims:
        raise _refuse("it is not an access token")
    if now >= _time(claims.get("exp")) + _LEEWAY:
        raise _refuse("it has expired")
    if now < _time(claims.get("nbf", 0)) - _LEEWAY:
        raise _refuse("it is not valid yet")


def _time(value: Any) -> float:
    """NumericDate (RFC 7519 section 2)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refuse("its times are missing or no numbers")
    return float(value)


def _caller(claims: dict[str, Any], settings: IssuerSettings) -> Caller:
    sub = claims.get("sub")
    if not isinstance(sub, str) or not 0 < len(sub) <= 255 or not sub.isprintable():
        raise _refuse("it names nobody (sub)")
    name = str(claims.get("name") or claims.get("preferred_username") or "")
    host = claims.get(settings.host_claim)
    if host is not None and not isinstance(host, str):
        raise _refuse(f"its {settings.host_claim} is no host id")
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


class Bearer(SecurityBase):
    """A dependency: gives the caller if the token is good and the caller is what is asked for.

    ``who`` is a role, ``host`` (an enrolled, active host: looked up at each call, so that revoking one is
    immediate), or ``any`` (a host or a user).
    """

    def __init__(self, who: Role | Literal["host", "any"], *, read: Callable[[Request], str] | None = None) -> None:
        self.model = OAuth2(flows=OAuthFlows(password=OAuthFlowPassword(tokenUrl="token")))
        self.scheme_name = "oauth2"
        self._who = who
        self._read = read or _token

    async def __call__(self, request: Request) -> Caller:
        caller = await centre_of(request).verifier.verify(self._read(request))
        act_of(request).actor = caller.actor
        if caller.host is not None:
            await self._host(request, caller.host)
        elif self._who != "any" and self._who not in caller.roles:
            raise ForbiddenError(
                f"this needs {self._whom()}; ask the federation's operator for it", code="forbidden.role"
            )
        elif not caller.roles:
            raise ForbiddenError("the token gives no role here; ask the federation's operator", code="forbidden.role")
        return caller

    async def _host(self, request: Request, host: str) -> None:
        if self._who not in {"host", "any"}:
            raise ForbiddenError(f"this needs {self._whom()}, and the token is a host's", code="forbidden.role")
        if not await run_in_threadpool(_active, request, host):
            raise ForbiddenError(f"host {host} is not enrolled or was revoked; ask the operator", code="forbidden.host")

    def _whom(self) -> str:
        return "a host's token" if self._who == "host" else f"the role {self._who}"


def _active(request: Request, host: str) -> bool:
    with reading(centre_of(request).engine) as connection:
        return hosts.is_active(connection, host)


def token_or_password(request: Request) -> str:
    """A token, sent as one or as the password of HTTP Basic: container engines and pip know no other way."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or len(value) > 2 * _LONGEST_TOKEN:
        return _token(request)
    try:
        return base64.b64decode(value.strip(), validate=True).decode("ascii").partition(":")[2]
    except ValueError as fault:
        raise _refuse("the header must be 'Authorization: Basic …' with a token as the password") from fault


def _token(request: Request) -> str:
    values = request.headers.getlist("authorization")
    if not values:
        raise NotAuthenticatedError("this needs a token: POST /token gives one, send it as 'Authorization: Bearer …'")
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
        raise _refuse("the header must be one 'Authorization: Bearer TOKEN'")
    return token.strip()
