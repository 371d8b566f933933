"""EUCAIM's tracing service over HTTP: one trace at a time, with a token of the centre's own client."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from typing import Any

import httpx
from sqlalchemy import Row

from fedproc.central.settings import TracingSettings
from fedproc.central.tracing.recording import USED
from fedproc.common.errors import UnavailableError
from fedproc.common.http import text_of
from fedproc.common.tls import client_context

_PATHS = {"v1": "/api/v1/traces", "v2": "/api/v2/traces/"}
_LARGEST = 64 << 10
"""bytes of an answer that are read"""
_OF_THE_TRACE = frozenset({400, 422})
"""with JSON of the service's own: it read the trace. Others come of settings, gateways and faults, which are cured"""
_EARLIER = 30.0
"""seconds before its end at which a token is renewed"""
_LONGEST_LASTS = 86_400.0
_TOKEN = re.compile(r"[\x21-\x7e]+")


class RefusedError(Exception):
    """The service read the trace and will never take it.

    Nothing of its answer is in here: what stands in the audit outlives the person whom an answer may name.
    """


class TracingService:
    """Calls raise :class:`UnavailableError` where another attempt may help, :class:`RefusedError` where none does,
    and nothing else, whatever service and issuer answer."""

    def __init__(self, settings: TracingSettings) -> None:
        self._settings = settings
        self._url = settings.url.rstrip("/") + _PATHS[settings.api]
        self._verify = client_context(settings.ca_file)
        self._token, self._until = "", 0.0

    def takes(self, trace: Row[Any]) -> bool:
        """Whether the service has a word for it: a release is body only where the settings say that it takes it."""
        return trace.kind == USED or self._settings.extended

    def send(self, trace: Row[Any]) -> None:
        """Deliver one. A service that has it already says so by 409, and all is well."""
        try:
            self._send(trace)
        except (UnavailableError, RefusedError):
            raise
        except Exception as error:
            raise UnavailableError(f"{self._url} or its issuer answers oddly: {type(error).__name__}") from error

    def _send(self, trace: Row[Any]) -> None:
        headers = {"Authorization": f"Bearer {self._bearer()}", "Idempotency-Key": trace.key}
        status, body = self._post(self._url, headers=headers, json=body_of(trace, extended=self._settings.extended))
        if status == 409:
            return
        if status == 401:
            self._until = 0.0
        if status in _OF_THE_TRACE and _object(body) is not None:
            raise RefusedError(f"the service answers {status}; its own log says what it does not take")
        if not 200 <= status < 300:
            raise UnavailableError(f"{self._url} answers {status}")
        if not self._is_its_own(status, body):
            raise UnavailableError(f"{self._url} answers {status} with what is no trace's id: is tracing.url right?")

    def _is_its_own(self, status: int, body: bytes) -> bool:
        """A page that something on the way puts in the place of an answer delivers nothing."""
        if status == 204 or (self._settings.api == "v1" and not body):
            return True
        found = _object(body)
        return found is not None and (self._settings.api == "v1" or bool(found.get("id")))

    def _bearer(self) -> str:
        if time.monotonic() > self._until:
            self._token, lasts = self._fetched()
            self._until = time.monotonic() + max(lasts - _EARLIER, 0.0)
        return self._token

    def _fetched(self) -> tuple[str, float]:
        own = self._settings
        try:
            secret = own.client_secret_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(f"tracing.client_secret_file {own.client_secret_file}: {text_of(error)}") from error
        form = {"grant_type": "client_credentials", "client_id": own.client_id, "client_secret": secret}
        if own.scope:
            form["scope"] = own.scope
        status, body = self._post(own.token_url, data=form)
        answer = _object(body) or {}
        token = answer.get("access_token")
        if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
            raise UnavailableError(f"{own.token_url} gives no token: it answers {status}")
        try:
            lasts = float(answer.get("expires_in", 60))
        except (ValueError, TypeError, OverflowError) as error:
            raise UnavailableError(f"{own.token_url} gives a token with an odd expires_in") from error
        if not math.isfinite(lasts):
            raise UnavailableError(f"{own.token_url} gives a token with an odd expires_in")
        return token, min(lasts, _LONGEST_LASTS)

    def _post(self, url: str, **arguments: Any) -> tuple[int, bytes]:
        try:
            return asyncio.run(self._exchange(url, arguments))
        except TimeoutError as error:
            raise UnavailableError(f"{url} has not answered after {self._settings.seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            own = isinstance(error, httpx.ConnectError | httpx.InvalidURL)  # others repeat what the service wrote
            reason = text_of(error) if own else type(error).__name__
            raise UnavailableError(f"{url} does not answer: {reason}") from error

    async def _exchange(self, url: str, arguments: dict[str, Any]) -> tuple[int, bytes]:
        """Bounded as a whole: a client's own timeouts start again with each byte that comes."""
        client = httpx.AsyncClient(timeout=None, verify=self._verify, follow_redirects=False, trust_env=False)  # noqa: S113
        async with asyncio.timeout(self._settings.seconds), client, client.stream("POST", url, **arguments) as answer:
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _LARGEST:
                    raise UnavailableError(f"{url} answers with more than {_LARGEST} bytes")
            return answer.status_code, body


def _object(body: bytes) -> dict[str, Any] | None:
    """The JSON object that it is, if it is one."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def body_of(trace: Row[Any], *, extended: bool) -> dict[str, Any]:
    """As v1 and v2 have it, which refuse any other field; ``extended`` adds what they have no word for."""
    known = trace.body
    body = {
        "userAction": "USE_DATASETS" if trace.kind == USED else "RELEASE_RESULTS",
        "userId": trace.owner,
        "datasetsIds": known["datasets"],
        "toolName": known["tool"],
        "toolVersion": known["version"],
    }
    if extended:
        more = ("experiment", "host", "project", "project_by", "digest", "versions", "results")
        body |= {_MORE.get(name, name): known[name] for name in more if known.get(name)}
    return body


_MORE = {"digest": "toolDigest", "versions": "datasetsVersions", "project_by": "projectToldBy"}
