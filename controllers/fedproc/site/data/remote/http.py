"""HTTP to a PACS or a Data API of the site: who it must be, how it is signed in to, and how much is taken of it.

It is within the hospital: no proxy of the environment is used, no redirect is followed, and no address that an answer
names is ever asked. Everything blocks, and is for threads (:func:`fedproc.common.tasks.stoppable_alone`).
"""

from __future__ import annotations

import json
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast
from urllib.parse import quote, urlencode

import httpx

from fedproc.common.answer_watch import AnswerWatch
from fedproc.common.errors import InvalidInputError
from fedproc.common.http import TRANSIENT, text_of
from fedproc.common.tasks import StopFlag
from fedproc.common.tls import client_context, show
from fedproc.site.data.remote.errors import RemoteError, RemotePassingError
from fedproc.site.dataset_settings import AccessSettings, FetchingSettings

_LARGEST_JSON = 64 << 20
_IN_MEMORY = 1 << 20
_LARGEST_REASON = 16 << 10
TRICKLE = 16 << 10
"""bytes that come at least within the time limit"""
_AS_THEY_ARE = "*?,:/-."
"""in a query: of a percent-encoded asterisk Orthanc makes no wildcard"""
_REASONS = ("detail", "Details", "message", "Message", "error_description", "error")


class RemoteHttp:
    """Connections to ``url``, for a ``with``. Raises :class:`RemoteError` for settings that cannot be used."""

    def __init__(self, url: str, access: AccessSettings, fetching: FetchingSettings, flag: StopFlag) -> None:
        path = url.removeprefix("unix://") if url.startswith("unix://") else None
        self.url = "http://data-api" if path is not None else url.rstrip("/")
        self._fetching = fetching
        self._flag = flag
        try:
            context = _context(access)
            auth = _auth(access)
        except InvalidInputError as error:
            raise RemoteError(error.message) from error
        limit = fetching.timeout_seconds
        self._watch = AnswerWatch(limit)
        self._late = f"its answer does not come on within {limit:g} s"
        self._client = httpx.Client(
            verify=context, auth=auth, trust_env=False, follow_redirects=False,
            transport=None if path is None else httpx.HTTPTransport(uds=path),
            timeout=httpx.Timeout(limit, connect=min(10.0, limit)), headers={"Accept-Encoding": "identity"},
        )  # fmt: skip

    def __enter__(self) -> RemoteHttp:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._watch.__exit__(None, None, None)
        self._client.close()

    def json(self, path: str, params: Any = None, *, accept: str = "application/json", method: str = "GET",
             body: Any = None, headers: Mapping[str, str] | None = None) -> Any:  # fmt: skip
        """What ``path`` answers; None for an answer without content. Raises :class:`RemoteError`."""
        content = self.content(path, params, accept=accept, method=method, body=body, headers=headers)
        if not content:
            return None
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise RemoteError(f"{path}: it answers with what is no JSON") from error

    def content(self, path: str, params: Any = None, *, accept: str, method: str = "GET",
                body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:  # fmt: skip
        """The same, as it comes."""
        given = {"Accept": accept, **(headers or {})}
        with self._answer(method, path + _query(params), given, json=body) as answer:
            content = bytearray()
            for chunk in self._chunks(answer):
                content += chunk
                _check_size(path, len(content))
        return b"" if answer.status_code == 204 else bytes(content)

    @contextmanager
    def spooled(self, path: str, params: Any, *, accept: str) -> Iterator[BinaryIO | None]:
        """The same as a file, which is on the disk where it is large; None for an answer without content."""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as kept:
            with self._answer("GET", path + _query(params), {"Accept": accept}) as answer:
                size = 0
                for chunk in self._chunks(answer):
                    size += kept.write(chunk)
                    _check_size(path, size)
            kept.seek(0)
            yield None if answer.status_code == 204 or not size else cast(BinaryIO, kept)

    def check(self) -> None:
        """Raises StoppedError where nobody waits any more."""
        self._flag.check()

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str]) -> Iterator[tuple[httpx.Response, Iterator[bytes]]]:
        """The head of an answer, and its bytes as they come, not faster than the settings allow."""
        with self._answer("GET", path, headers) as answer:
            yield answer, self._limited(self._chunks(answer))

    @contextmanager
    def _answer(self, method: str, path: str, headers: Mapping[str, str], **sent: Any) -> Iterator[httpx.Response]:
        self._flag.check()
        given = {name: value for name, value in sent.items() if value is not None}
        if "Authorization" in headers:
            given["auth"] = None  # in a user's name, and not in the site's
        try:
            with self._client.stream(method, self.url + path, headers=dict(headers), extensions=self._watch.extensions,
                                     **given) as answer:  # fmt: skip
                if not 200 <= answer.status_code < 300:
                    raise self._refusal(answer, path.partition("?")[0])
                if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise RemoteError(f"{path}: it answers compressed, which nobody asked for")
                yield answer
        except httpx.HTTPError as error:
            reason = self._late if self._watch.was_late else _words(error)
            raise RemotePassingError(f"{path.partition('?')[0]}: {reason}") from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise RemoteError(f"{self.url}{path} is no address: {error}") from error

    def _chunks(self, answer: httpx.Response) -> Iterator[bytes]:
        limit = self._fetching.timeout_seconds
        since, come = time.monotonic(), 0
        # no size of chunks is asked for: httpx would wait until one is full
        chunks = answer.iter_raw()
        while True:
            with self._watch.waiting():
                chunk = next(chunks, None)
            if chunk is None and self._watch.was_late:  # an answer without a length ends like this, too
                raise RemotePassingError(self._late)
            if chunk is None:
                return
            self._flag.check()
            come += len(chunk)
            if time.monotonic() - since > limit:
                if come < TRICKLE:
                    raise RemotePassingError(f"it sent {come} bytes in {limit:g} s")
                since, come = time.monotonic(), 0
            yield chunk

    def _limited(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        rate = self._fetching.megabytes_per_second
        if rate is None:
            yield from chunks
            return
        due = time.monotonic()
        for chunk in chunks:
            due = max(due, time.monotonic() - 1.0) + len(chunk) / (rate * 1e6)
            while (left := due - time.monotonic()) > 0:
                self._flag.check()
                time.sleep(min(left, 0.5))
            yield chunk

    def _refusal(self, answer: httpx.Response, path: str) -> RemoteError:
        """What has come of its reason when the time is over: it refuses, whatever that is."""
        body, until = bytearray(), time.monotonic() + self._fetching.timeout_seconds
        with suppress(RemotePassingError, httpx.HTTPError):
            for chunk in self._chunks(answer):
                body += chunk
                if len(body) >= _LARGEST_REASON or time.monotonic() >= until:
                    break
        text = f"{path}: HTTP {answer.status_code}: {_reason(answer, bytes(body))}"
        kind = RemotePassingError if answer.status_code in TRANSIENT else RemoteError
        return kind(text, answer.status_code, _code(bytes(body)))


def _query(params: Any) -> str:
    return f"?{urlencode(params, quote_via=quote, safe=_AS_THEY_ARE)}" if params else ""


def _check_size(path: str, size: int) -> None:
    if size > _LARGEST_JSON:
        raise RemoteError(f"{path}: its answer has more than {_LARGEST_JSON >> 20} MiB")


def _context(access: AccessSettings) -> ssl.SSLContext:
    context = client_context(access.ca_file)
    if access.certificate is not None and access.key is not None:
        show(context, access.certificate, access.key)
    return context


def _auth(access: AccessSettings) -> httpx.Auth | None:
    """Read each time: a password that is changed needs no restart."""
    if access.user_file is not None:
        user, colon, password = secret_in(access.user_file).partition(":")
        if not colon:
            raise InvalidInputError(f"{access.user_file}: write user:password into it")
        return httpx.BasicAuth(user, password)
    return _Bearer(secret_in(access.token_file)) if access.token_file is not None else None


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def secret_in(path: Path) -> str:
    """A secret of one line. Raises :class:`InvalidInputError` where it cannot be read, or others may read it."""
    try:
        if path.stat().st_mode & 0o077:
            raise InvalidInputError(f"{path} may be read by others: chmod 600 {path}")
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not a text'}") from error
    if not text or not text.isprintable():
        raise InvalidInputError(f"{path}: write one line into it")
    return text


def _words(error: httpx.HTTPError) -> str:
    match error:
        case httpx.ReadTimeout():
            return "it does not answer any more"
        case httpx.ConnectTimeout():
            return "it does not answer"
        case _:
            return text_of(error)


def _code(body: bytes) -> str | None:
    """That of a problem document (RFC 9457)."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    code = found.get("code") if isinstance(found, dict) else None
    return code if isinstance(code, str) else None


def _reason(answer: httpx.Response, body: bytes) -> str:
    """Its own words, as one line."""
    try:
        found = json.loads(body)
        text = next((str(found[key]) for key in _REASONS if found.get(key)), "") if isinstance(found, dict) else ""
    except (ValueError, RecursionError):
        kind = answer.headers.get("Content-Type", "")
        text = body.decode("utf-8", "replace") if kind.startswith("text/plain") else ""
    asks = answer.headers.get("WWW-Authenticate", "").partition(" ")[0]
    asked = f"it asks for {asks}" if answer.status_code == 401 and asks else answer.reason_phrase
    line = " ".join("".join(c if c.isprintable() else " " for c in text or asked).split())
    return line[:500] or "it gives no reason"
