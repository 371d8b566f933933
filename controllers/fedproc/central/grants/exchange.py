"""Tokens on a user's behalf: the user's own is exchanged (RFC 8693) at the issuer for one with a single audience.

An exchange makes no session of its own and needs the user's: when that has ended, nothing is exchanged any more. So
that the user may be asked about later, the API exchanges once for a refresh token of its own in the user's session.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError

from fedproc.central.auth.issuer import Issuer
from fedproc.central.grants.answers import NotAskedError, SessionEndedError
from fedproc.common.errors import UnavailableError

_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS = "urn:ietf:params:oauth:token-type:access_token"
_REFRESH = "urn:ietf:params:oauth:token-type:refresh_token"
LONGEST = 300.0
"""seconds that a token for one host may live"""
_LEEWAY = 5.0


@dataclass(frozen=True, repr=False)
class HostToken:
    """An access token of a user for one audience alone; ``expires`` in seconds since 1970."""

    token: str
    expires: float


@dataclass(frozen=True, repr=False)
class Session:
    """A user's session, as the API holds it: a fresh access token, and the refresh token that counts from now on."""

    access: str
    refresh: str


class Exchange:
    """Asks the issuer. Everything it raises is :class:`NotAskedError` or :class:`SessionEndedError`."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    async def is_offered(self) -> bool:
        """Whether the issuer exchanges tokens for a client with a key, as ours must be."""
        if self._issuer.settings.client_key is None:
            return False
        try:
            return _GRANT in (await self._issuer.grants())[0]
        except UnavailableError as error:
            raise NotAskedError(error.message) from error

    async def begin(self, token: str) -> Session:
        """Hold the session of the user whose access token this is."""
        body = await self._exchange(token, requested_token_type=_REFRESH)
        return Session(_text(body, "access_token"), _text(body, "refresh_token"))

    async def renew(self, refresh: str) -> Session:
        """A fresh access token of a session that is held; raises :class:`SessionEndedError` when it is over."""
        body = await self._ask({"grant_type": "refresh_token", "refresh_token": refresh})
        return Session(_text(body, "access_token"), str(body.get("refresh_token") or refresh))

    async def for_audience(self, token: str, audience: str, sub: str) -> HostToken:
        """A token of ``sub`` whose only audience is ``audience``, and which lives five minutes at most."""
        body = await self._exchange(token, audience=audience, scope=audience)
        given = _text(body, "access_token")
        return HostToken(given, await self._checked(given, audience, sub))

    async def _exchange(self, token: str, **more: str) -> dict[str, Any]:
        return await self._ask({"grant_type": _GRANT, "subject_token": token, "subject_token_type": _ACCESS, **more})

    async def _ask(self, form: dict[str, str]) -> dict[str, Any]:
        try:
            status, body = await self._issuer.grant(form)
        except UnavailableError as error:
            raise NotAskedError(error.message) from error
        if status == 200:
            return body
        answer = f"{body.get('error', status)}: {body.get('error_description', 'no reason given')}"[:300]
        if body.get("error") == "invalid_grant":
            raise SessionEndedError(
                f"the user's session at the issuer has ended ({answer}); sign in, and start it again"
            )
        raise NotAskedError(f"the issuer exchanges no token ({answer})")

    async def _checked(self, token: str, audience: str, sub: str) -> float:
        """When it expires; it came from the issuer itself, and is looked at all the same: a host will be given it."""
        try:
            key = await self._issuer.key(str(jws.extract_compact(token.encode()).headers().get("kid")))
            if key is None:
                raise NotAskedError("the issuer exchanged a token that it has not signed by a key of its own")
            claims = jwt.decode(token, key, algorithms=list(self._issuer.settings.algorithms)).claims
            expires = float(claims["exp"])
        except (JoseError, UnavailableError, ValueError, TypeError, KeyError) as error:
            raise NotAskedError("the issuer exchanged a token that cannot be read") from error
        if claims.get("aud") not in (audience, [audience]) or claims.get("sub") != sub:
            raise NotAskedError(f"the issuer exchanged a token that is not {sub}'s for {audience} alone")
        if expires > time.time() + LONGEST + _LEEWAY:
            raise NotAskedError(
                f"the issuer's tokens live longer than {LONGEST:g} s (keycloak_realm_token_seconds): none is given away"
            )
        return expires


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise NotAskedError(f"the issuer exchanged no {name}; is that allowed to client fedproc-api?")
    return value
