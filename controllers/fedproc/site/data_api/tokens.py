"""Users' access tokens with this host's audience, checked by the issuer's keys (RFC 9068, RFC 8725)."""

from __future__ import annotations

import json
import math
import threading
import time
from typing import Any

import httpx
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from fedproc.common.answer_watch import AnswerWatch
from fedproc.common.errors import InvalidTokenError, UnavailableError
from fedproc.common.files import read_regular
from fedproc.common.http import text_of
from fedproc.common.tls import client_context
from fedproc.site.data_api.settings import TokenSettings

_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_OTHERS = frozenset({"ID", "Refresh", "Offline", "Logout"})
_LEEWAY = 5.0
_SECONDS = 10.0
"""for the issuer's keys: to connect, for the head of the answer, and for its body"""
_LARGEST = 1 << 20
_BETWEEN = 10.0
"""seconds between two questions for the keys: whoever sends tokens of unknown keys asks no more often"""


class Tokens:
    """Blocks, and may be used by several threads."""

    def __init__(self, settings: TokenSettings) -> None:
        self._settings = settings
        self._keys: dict[str, Key] = {}
        self._asked = -math.inf
        self._failure: UnavailableError | None = None
        """of the last question for the keys"""
        self._lock = threading.Lock()

    def check(self, token: str) -> None:
        """Raises :class:`InvalidTokenError` for one that does not count here, UnavailableError without keys."""
        try:
            header = jws.extract_compact(token.encode()).headers()
        except (JoseError, ValueError, UnicodeError) as error:
            raise _invalid("it is no signed JWT") from error
        if header.get("alg") not in self._settings.algorithms or str(header.get("typ", "JWT")).lower() not in _TYPES:
            raise _invalid("it is no access token of an algorithm that counts here")
        key = self._key(str(header.get("kid")))
        try:
            claims = jwt.decode(token, key, algorithms=[header["alg"]]).claims
        except (JoseError, ValueError, TypeError) as error:
            raise _invalid("its signature is wrong") from error
        self._check_claims(claims, time.time())

    def _check_claims(self, claims: dict[str, Any], now: float) -> None:
        if claims.get("iss") != self._settings.issuer:
            raise _invalid("it is of another issuer")
        audience = claims.get("aud")
        if self._settings.audience not in (audience if isinstance(audience, list) else [audience]):
            raise _invalid(f"it is not meant for {self._settings.audience}")
        if claims.get("typ") in _OTHERS or "at_hash" in claims or "nonce" in claims:
            raise _invalid("it is not an access token")
        if now >= _number(claims.get("exp")) + _LEEWAY or now < _number(claims.get("nbf", 0)) - _LEEWAY:
            raise _invalid("it has expired, or is not valid yet")

    def _key(self, kid: str) -> Key:
        with self._lock:
            if kid not in self._keys and time.monotonic() >= self._asked + _BETWEEN:
                self._asked = time.monotonic()
                self._refresh()
            failure = self._failure
        if kid not in self._keys and failure is not None:
            raise UnavailableError(failure.message)
        if (key := self._keys.get(kid)) is None:
            raise _invalid("it is signed by a key that the issuer does not publish")
        return key

    def _refresh(self) -> None:
        try:
            self._keys, self._failure = self._published(), None
        except UnavailableError as error:
            self._failure = error

    def _published(self) -> dict[str, Key]:
        settings = self._settings
        try:
            if settings.keys_file is not None:
                found = json.loads(read_regular(settings.keys_file))
            else:
                found = json.loads(self._fetched())
            return dict(_signing(found))
        except (OSError, ValueError, RecursionError, httpx.HTTPError, TypeError, AttributeError) as error:
            raise UnavailableError(f"the issuer's keys cannot be had: {text_of(error)}") from error

    def _fetched(self) -> bytes:
        """Others wait for it, so it is bounded as a whole."""
        assert self._settings.keys_url is not None
        verify, body = client_context(self._settings.ca_file), bytearray()
        with (
            AnswerWatch(_SECONDS) as watch,
            httpx.Client(verify=verify, timeout=_SECONDS) as http,
            http.stream("GET", self._settings.keys_url, extensions=watch.extensions) as answer,
        ):
            answer.raise_for_status()
            with watch.waiting():
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > _LARGEST:
                        raise ValueError(f"they have more than {_LARGEST >> 20} MiB")
            if watch.was_late:
                raise ValueError("they do not come whole")
        return bytes(body)


def _signing(found: Any) -> Any:
    for entry in found["keys"] if isinstance(found.get("keys"), list) else []:
        try:
            if entry.get("kty") != "oct" and entry.get("use", "sig") == "sig":
                yield str(entry["kid"]), JWKRegistry.import_key({k: v for k, v in entry.items() if k != "d"})
        except (JoseError, ValueError, KeyError, TypeError, AttributeError):
            continue  # one that this program does not know


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _invalid("its times are missing or no numbers")
    return float(value)


def _invalid(why: str) -> InvalidTokenError:
    return InvalidTokenError(f"the token does not count: {why}; get a fresh one")
