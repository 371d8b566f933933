"""The OIDC issuer as the API sees it: its published keys, and its token endpoint for ``POST /token``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from fedproc.central.settings import IssuerSettings
from fedproc.common.errors import UnavailableError
from fedproc.common.http import client_assertion, text_of
from fedproc.common.keys import read_key
from fedproc.common.log import get_logger
from fedproc.common.tls import client_context

log = get_logger(__name__)

_WELL_KNOWN = "/.well-known/openid-configuration"
_KEYS_LIVE = 3600.0
_BETWEEN_FETCHES = 10.0
_AFTER_FAILURE = 1.0
_TIMEOUT = httpx.Timeout(5.0)
_TOKEN_TIMEOUT = httpx.Timeout(5.0, read=20.0)
"""an issuer under load takes seconds to compare a password, whose hash is slow on purpose; a code counts only once"""
_LONGEST = 30.0
"""seconds for one question as a whole: the limits above begin again with each byte that comes"""
_PATIENCE = 20.0
_QUEUE = 20


class _SignIns:
    """Whose turn it is among the sign-ins of one user, and how many wait for theirs."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


class Issuer:
    """Asks the issuer over one kept connection. Everything it raises is :class:`UnavailableError`."""

    def __init__(self, settings: IssuerSettings) -> None:
        self.settings = settings
        self._discovery = (settings.discovery_url or settings.url).rstrip("/").removesuffix(_WELL_KNOWN) + _WELL_KNOWN
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT, verify=client_context(settings.ca_file), follow_redirects=False
        )
        self._client_key = None if settings.client_key is None else read_key(settings.client_key, "issuer.client_key")
        self._document: dict[str, Any] = {}
        self._keys: dict[str, Key] = {}
        self._fetched = 0.0
        self._next_fetch = 0.0
        self._lock = asyncio.Lock()
        self._sign_ins: WeakValueDictionary[str, _SignIns] = WeakValueDictionary()

    async def close(self) -> None:
        await self._http.aclose()

    async def discover(self) -> dict[str, Any]:
        """The discovery document, asked for now. Raises :class:`UnavailableError`."""
        document = await self._json(self._discovery)
        if document.get("issuer") != self.settings.url:
            raise UnavailableError(
                f"{self._discovery} is of issuer {document.get('issuer')!r}, the settings say {self.settings.url!r}: "
                "correct issuer.url",
                code="unavailable.issuer",
            )
        self._document = document
        return document

    async def key(self, kid: str) -> Key | None:
        """The published key of that id; None if there is none.

        An unknown id makes the keys be fetched again, at most every 10 seconds. Keys that were once published
        are used on while the issuer does not answer.
        """
        now = time.monotonic()
        if kid not in self._keys or now > self._fetched + _KEYS_LIVE:
            async with self._lock:
                if time.monotonic() >= self._next_fetch and (kid not in self._keys or now > self._fetched + _KEYS_LIVE):
                    await self._refresh()
        if not self._keys:
            raise UnavailableError("the issuer's keys are not known yet; try again", code="unavailable.issuer")
        return self._keys.get(kid)

    async def _refresh(self) -> None:
        self._next_fetch = time.monotonic() + _AFTER_FAILURE
        try:
            document = self._document or await self.discover()
            published = await self._json(document["jwks_uri"])
        except (UnavailableError, KeyError) as error:
            self._document = {}
            if not self._keys:
                raise
            log.warning("issuer.keys_not_refreshed", reason=str(error))
            return
        self._keys = _signing_keys(published)
        self._fetched = time.monotonic()
        self._next_fetch = self._fetched + _BETWEEN_FETCHES

    async def grant(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Hand a token request on, with our client's authentication; the status and body of the answer."""
        endpoint = await self._token_endpoint()
        async with self._one_at_a_time(form.get("username")):
            return await self._ask(endpoint, {**form, **self._authentication(endpoint)})

    async def grant_to_browser(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """The same for the dashboard's client, which is a public one: PKCE stands in for its authentication."""
        return await self._ask(await self._token_endpoint(), {**form, "client_id": self.settings.dashboard_client_id})

    async def browser_address(self, endpoint: str) -> str | None:
        """Where a browser is sent: the ``authorization_endpoint`` or ``end_session_endpoint``, if there is one."""
        document = self._document or await self.discover()
        return document.get(endpoint)

    async def _token_endpoint(self) -> str:
        document = self._document or await self.discover()
        return str(document.get("token_endpoint"))

    async def _ask(self, endpoint: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        try:
            async with asyncio.timeout(_LONGEST):
                answer = await self._http.post(endpoint, data=form, timeout=_TOKEN_TIMEOUT)
            body = answer.json()
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            raise _unavailable(endpoint, error) from error
        if answer.status_code >= 500 or not isinstance(body, dict):
            raise UnavailableError(
                f"issuer: {endpoint} answers {answer.status_code}; try again", code="unavailable.issuer"
            )
        return answer.status_code, body

    @asynccontextmanager
    async def _one_at_a_time(self, username: str | None) -> AsyncIterator[None]:
        """Sign-ins of one user come one after the other.

        Keycloak, to stop who guesses passwords, refuses all but one of those that come at once, as if they were wrong.
        """
        if username is None:
            yield
            return
        sign_ins = self._sign_ins.setdefault(username.lower(), _SignIns())
        text = f"too many sign-ins of {username} at once; try again, or sign in once and use the refresh token"
        if sign_ins.waiting >= _QUEUE:
            raise UnavailableError(text, code="unavailable.issuer")
        sign_ins.waiting += 1
        try:
            async with asyncio.timeout(_PATIENCE):
                await sign_ins.lock.acquire()
        except TimeoutError:
            raise UnavailableError(text, code="unavailable.issuer") from None
        finally:
            sign_ins.waiting -= 1
        try:
            yield
        finally:
            sign_ins.lock.release()

    async def grants(self) -> tuple[frozenset[str], str | None]:
        """The grant types that the issuer offers, and the address where its device flow begins."""
        document = self._document or await self.discover()
        offered = document.get("grant_types_supported") or ["authorization_code", "implicit"]
        return frozenset(offered), document.get("device_authorization_endpoint")

    def _authentication(self, endpoint: str) -> dict[str, str]:
        client = self.settings.client_id
        if self._client_key is None:
            return {"client_id": client}
        return client_assertion(client, endpoint, self._client_key)

    async def _json(self, url: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_LONGEST):
                answer = await self._http.get(url)
            answer.raise_for_status()
            body = answer.json()
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            raise _unavailable(url, error) from error
        if not isinstance(body, dict):
            raise UnavailableError(f"issuer: {url} gives no JSON object", code="unavailable.issuer")
        return body


def _unavailable(url: str, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"the issuer does not answer at {url}: {text_of(error)}; try again", code="unavailable.issuer"
    )


def _signing_keys(published: dict[str, Any]) -> dict[str, Key]:
    keys: dict[str, Key] = {}
    for jwk in published.get("keys", []):
        if jwk.get("kty") == "oct" or jwk.get("use", "sig") != "sig" or not jwk.get("kid"):
            continue
        try:
            keys[jwk["kid"]] = JWKRegistry.import_key(jwk)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            log.warning("issuer.key_unusable", kid=jwk["kid"], reason=str(error))
    return keys
