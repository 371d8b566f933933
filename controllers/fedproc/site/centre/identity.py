"""The host's one identity: its key, the tokens it gets with it, and what the centre's clock says.

Tokens come from the issuer by client credentials with ``private_key_jwt`` (RFC 7523); nothing secret is ever
sent. A fresh token carries the issuer's signed time, against which this host's clock is compared.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import httpx

from fedproc.common.errors import UnavailableError
from fedproc.common.http import client_assertion, text_of
from fedproc.common.keys import Signer, read_key
from fedproc.common.log import get_logger
from fedproc.site.settings import SiteSettings

log = get_logger(__name__)

MAX_SKEW = 60.0
_EARLY = 30.0


class Clock:
    """The centre's time, as far as this host knows it.

    It starts from this host's clock; once the issuer has signed a time, it goes on from there by the boot-time
    clock, so that a jump of the host's clock changes no deadline.
    """

    def __init__(self) -> None:
        self._origin = time.time() - _boot_seconds()
        self.compared = False
        """whether the issuer has told its time; until then this host's clock is nobody's word but its own"""

    def compare(self, signed_time: float) -> None:
        """Take over the time that the issuer just signed (whole seconds: half a second is added)."""
        self._origin = signed_time + 0.5 - _boot_seconds()
        self.compared = True
        if not self.trusted:
            log.error("clock.skewed", skew_seconds=round(self.skew, 1), cure="synchronise it (NTP)")

    def now(self) -> datetime:
        """The centre's present time, aware, UTC."""
        return datetime.fromtimestamp(self._origin + _boot_seconds(), UTC)

    @property
    def skew(self) -> float:
        """Seconds by which this host's clock is ahead of the centre's."""
        return time.time() - self._origin - _boot_seconds()

    @property
    def trusted(self) -> bool:
        return abs(self.skew) <= MAX_SKEW


def _boot_seconds() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_NO_ANSWER = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""what reading JSON of others raises, where it is not what it should be"""
_LONGEST = 366 * 86400.0
"""seconds that a token may be good"""
_LATEST = 253402300800.0
"""the year 10000"""


class Identity:
    """Gives tokens for API and broker; one is kept until shortly before it expires."""

    def __init__(self, settings: SiteSettings, http: httpx.AsyncClient) -> None:
        self.host = settings.host
        self.key = read_key(settings.key)
        self.signer = Signer(self.key)
        self.clock = Clock()
        self._issuer = settings.centre.issuer_url.rstrip("/")
        self._http = http
        self._token = ""
        self._renew_at = self._expires = 0.0
        self._lock = asyncio.Lock()

    @property
    def client_id(self) -> str:
        return f"host-{self.host}"

    async def token(self, fresh: bool = False) -> str:
        """A valid access token. Raises :class:`UnavailableError` if the issuer gives none."""
        async with self._lock:
            if fresh or time.monotonic() >= self._renew_at:
                await self._fetch()
            return self._token

    def seconds_left(self) -> float:
        """How long the present token is good."""
        return max(0.0, self._expires - time.monotonic())

    async def _fetch(self) -> None:
        try:
            discovery = await self._http.get(f"{self._issuer}/.well-known/openid-configuration")
            discovery.raise_for_status()
            endpoint = discovery.json()["token_endpoint"]
            answer = await self._http.post(endpoint, data=self._request(endpoint))
        except (httpx.HTTPError, httpx.InvalidURL, *_NO_ANSWER) as error:
            raise UnavailableError(f"issuer {self._issuer} does not answer: {text_of(error)}") from error
        if answer.status_code != 200:
            raise UnavailableError(
                f"issuer {self._issuer} gives {self.client_id} no token: {answer.text[:200]}; "
                "is this host enrolled and not revoked, and is its clock right?"
            )
        try:
            self._keep(answer.json())
        except _NO_ANSWER as error:
            raise UnavailableError(f"issuer {self._issuer} gives an answer that is no token: {error!r}") from error

    def _request(self, endpoint: str) -> dict[str, str]:
        issued = int(self.clock.now().timestamp())
        return {
            "grant_type": "client_credentials",
            **client_assertion(self.client_id, endpoint, self.key, issued),
        }

    def _keep(self, answer: dict[str, Any]) -> None:
        token, lifetime = answer["access_token"], float(answer.get("expires_in", 60))
        if not (isinstance(token, str) and token.isascii() and token.isprintable() and 0 <= lifetime < _LONGEST):
            raise ValueError("access_token or expires_in is none")
        self._token = token
        self._expires = time.monotonic() + lifetime
        self._renew_at = self._expires - min(_EARLY, lifetime / 2)
        if issued := _issued_at(self._token):
            self.clock.compare(issued)


def _issued_at(token: str) -> float | None:
    """``iat`` of a token that came straight from the issuer over TLS; None for an opaque token."""
    try:
        part = token.split(".")[1]
        issued = float(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["iat"])
    except _NO_ANSWER:
        return None
    return issued if 0 < issued < _LATEST else None
