"""EUCAIM's tracing service over HTTP: one trace at a time, with a token of the centre's own client."""

from __future__ import annotations

import json
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
_AGAIN = frozenset({401, 403, 408, 425, 429})
"""faults of the service or of its settings, not of the trace: cured, it takes it"""
_EARLIER = 30.0
"""seconds before its end at which a token is renewed"""


class RefusedError(Exception):
    """The service read the trace and will never take it."""


class TracingService:
    """Calls raise :class:`UnavailableError` where another attempt may help, :class:`RefusedError` where none does."""

    def __init__(self, settings: TracingSettings) -> None:
        self._settings = settings
        self._url = settings.url.rstrip("/") + _PATHS[settings.api]
        self._http = httpx.Client(
            timeout=httpx.Timeout(settings.seconds),
            verify=client_context(settings.ca_file),
            follow_redirects=False,
            trust_env=False,
        )
        self._token, self._until = "", 0.0

    def close(self) -> None:
        self._http.close()

    def takes(self, trace: Row[Any]) -> bool:
        """Whether the service has a word for it: a release is body only where the settings say that it takes it."""
        return trace.kind == USED or self._settings.extended

    def send(self, trace: Row[Any]) -> None:
        """Deliver one. A service that has it already says so by 409, and all is well."""
        headers = {"Authorization": f"Bearer {self._bearer()}", "Idempotency-Key": trace.key}
        status, body = self._post(self._url, headers=headers, json=body_of(trace, extended=self._settings.extended))
        if status == 409:
            return
        if status == 401:
            self._until = 0.0
        if status in _AGAIN or status >= 500 or status < 200 or 300 <= status < 400:
            raise UnavailableError(f"{self._url} answers {status}: {_shown(body)}")
        if status >= 400:
            raise RefusedError(f"{status}: {_shown(body)}")
        if not self._is_its_own(status, body):
            raise UnavailableError(f"{self._url} answers {status} with what is no trace's id: is tracing.url right?")

    def _is_its_own(self, status: int, body: bytes) -> bool:
        """A page that something on the way puts in the place of an answer delivers nothing."""
        if status == 204 or (self._settings.api == "v1" and not body):
            return True
        try:
            found = json.loads(body)
        except ValueError:
            return False
        return isinstance(found, dict) and (self._settings.api == "v1" or bool(found.get("id")))

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
        try:
            answer = json.loads(body)
            return str(answer["access_token"]), float(answer.get("expires_in", 60))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnavailableError(f"{own.token_url} gives no token: it answers {status}") from error

    def _post(self, url: str, **arguments: Any) -> tuple[int, bytes]:
        try:
            with self._http.stream("POST", url, **arguments) as answer:
                body = b""
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > _LARGEST:
                        raise UnavailableError(f"{url} answers with more than {_LARGEST} bytes")
                return answer.status_code, body
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise UnavailableError(f"{url} does not answer: {text_of(error) or type(error).__name__}") from error


def _shown(body: bytes) -> str:
    """The beginning of an answer, on one line that is fit for a log."""
    text = " ".join(body[:300].decode("utf-8", "replace").split())
    return "".join(letter if letter.isprintable() else "?" for letter in text)


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
        more = ("experiment", "host", "project", "digest", "versions", "results")
        body |= {_MORE.get(name, name): known[name] for name in more if known.get(name)}
    return body


_MORE = {"digest": "toolDigest", "versions": "datasetsVersions"}
