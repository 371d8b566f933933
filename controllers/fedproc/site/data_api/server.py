"""The reference Data API by HTTP: a thread a connection, so that a share that hangs keeps nobody else.

It is small on purpose, and of the standard library (docs/decisions/0016). Nothing of a request is believed to be a
path: names of files are looked up in the frozen cohort.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import socket
import ssl
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, ThreadingMixIn, UnixStreamServer
from typing import Any, BinaryIO, TypeVar
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

from pydantic import BaseModel, ValidationError

from fedproc.common.errors import (
    ConflictError,
    FedprocError,
    ForbiddenError,
    InvalidInputError,
    NotAuthenticatedError,
    NotFoundError,
    RangeError,
    RefusedError,
    TooLargeError,
    UnavailableError,
)
from fedproc.common.log import get_logger
from fedproc.common.validation import lines_of
from fedproc.contract.data_api import MOST_LISTED, PREFIX, CohortRequest
from fedproc.site.data_api.freezing import Freezing
from fedproc.site.data_api.reading import opened, span
from fedproc.site.data_api.service import DataService
from fedproc.site.data_api.silent_connections import SilentConnections
from fedproc.site.data_api.tokens import Tokens

log = get_logger(__name__)
T = TypeVar("T")

_STATUS: list[tuple[type[FedprocError], int]] = [
    (NotAuthenticatedError, 401), (ForbiddenError, 403), (RefusedError, 403), (NotFoundError, 404),
    (ConflictError, 409), (TooLargeError, 413), (RangeError, 416), (InvalidInputError, 400), (UnavailableError, 503),
]  # fmt: skip
_LARGEST_BODY = 4 << 20
_CHUNK = 256 << 10
_SECONDS = 60.0
_FREEZE_SECONDS = 45.0
"""that a request waits for its cohort: orchestrators wait a minute unless they are told otherwise"""
_REQUEST_SECONDS = 30.0
"""for a request to come whole, from when the one before was answered"""
_MOST = 128
_ROOM_SECONDS = 0.5
_MOST_OF_DATASET = 16
"""connections, and of these the ones that read of one dataset"""


class DataServer(ThreadingMixIn, UnixStreamServer):
    """Serves ``service``, whose coroutines run in ``loop``, on a bound and listening socket."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, channel: socket.socket, service: DataService, loop: asyncio.AbstractEventLoop,
        secret: str | None = None, tokens: Tokens | None = None, tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        BaseServer.__init__(self, channel.getsockname() or "", _Handler)
        self.socket = channel
        self.service = service
        self.secret = secret
        self.tokens = tokens
        self.freezing = Freezing(service, loop, _FREEZE_SECONDS)
        self.silent = SilentConnections(_REQUEST_SECONDS)
        self._loop = loop
        self._tls = tls
        self._free = threading.BoundedSemaphore(_MOST)
        self._readers = defaultdict[str, threading.BoundedSemaphore](
            lambda: threading.BoundedSemaphore(_MOST_OF_DATASET)
        )

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine of the service gives. Raises :class:`UnavailableError` where a folder does not answer."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(_SECONDS)
        except TimeoutError as error:
            future.cancel()
            raise UnavailableError("the dataset's folder does not answer; ask again") from error

    def reader(self, dataset: str) -> threading.BoundedSemaphore:
        """Taken by each thread that reads of a dataset: those that hang leave room for the others."""
        return self._readers[dataset]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False) and not self._freed():
            log.warning("data_api.too_many_connections", most=_MOST)
            return self.shutdown_request(request)
        super().process_request(request, client_address)

    def _freed(self) -> bool:
        self.silent.end_oldest()
        return self._free.acquire(timeout=_ROOM_SECONDS)

    def service_actions(self) -> None:
        """Twice a second, and with each connection."""
        self.silent.end_late()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(_SECONDS)
        if request.family != socket.AF_UNIX:
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            request = self._tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        self.silent.add(request)
        try:
            if self._tls is not None:
                request.do_handshake()  # in the connection's own thread
            _Handler(request, client_address or ("", 0), self)
        finally:
            self.silent.remove(request)
            if self._tls is not None:
                request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Of one connection: the others go on."""
        error = sys.exc_info()[1]
        if isinstance(error, ConnectionError | TimeoutError | ssl.SSLError):
            log.info("data_api.connection_ended", error=str(error))
        else:
            log.warning("data_api.connection_failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "fedproc-data-api"
    sys_version = ""
    server: DataServer

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def handle_one_request(self) -> None:
        self.server.silent.add(self.connection)
        super().handle_one_request()

    def end_headers(self) -> None:
        self._head_sent = True
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """What is worth it is logged by name."""

    def _answer(self, method: str) -> None:
        self._head_sent = False
        try:
            self._route(method)
        except FedprocError as error:
            status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
            self._refuse(status, error.code, error.message)
        except OSError as error:
            self.close_connection = True
            if error.errno is None or isinstance(error, TimeoutError | ConnectionError):
                return  # the other side has gone
            log.error("data_api.unreadable", reason=str(error))
            self._refuse(503, "data.unreadable", "the dataset's folder cannot be read now; tell the site")
        except Exception:
            log.exception("data_api.unforeseen")
            self.close_connection = True
            self._refuse(500, "error", "this should not be; the site's log says what it was")

    def _route(self, method: str) -> None:
        body = self._body()
        self.server.silent.remove(self.connection)
        target = urlsplit(self.path)
        for verb, pattern, work, needs_token in _ROUTES:
            if verb == method and (match := pattern.fullmatch(target.path)) is not None:
                self._admit(needs_token=needs_token)
                return work(self, match, parse_qs(target.query), body)
        raise NotFoundError("there is nothing at this address")

    def _body(self) -> bytes:
        """Read before anything is answered: a connection that is kept has no rest of it."""
        if self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            raise InvalidInputError("send a body with its Content-Length")
        length = self.headers.get("Content-Length") or "0"
        if not length.isdecimal() or int(length) > _LARGEST_BODY:
            self.close_connection = True
            raise TooLargeError(f"a request has {_LARGEST_BODY >> 20} MiB at most")
        return self.rfile.read(int(length))

    def _admit(self, *, needs_token: bool) -> None:
        """A cohort is made with its user's token, where the site wants one; all else with that, or the secret."""
        secret, tokens = self.server.secret, self.server.tokens
        scheme, _, given = (self.headers.get("Authorization") or "").partition(" ")
        if not given or scheme.lower() != "bearer":
            if secret is None and (tokens is None or not needs_token):
                return
            raise NotAuthenticatedError("show a bearer token")
        if self._is_secret(given):
            if needs_token and tokens is not None:
                raise ForbiddenError("a cohort needs the token of the user whom it is for", code="token.needed")
            return
        if tokens is None:
            raise NotAuthenticatedError("the token is not this site's secret")
        tokens.check(given.strip())

    def _is_secret(self, given: str) -> bool:
        secret = self.server.secret
        return secret is not None and hmac.compare_digest(given.strip().encode(), secret.encode())

    def _sees_problems(self) -> bool:
        """They name paths: whoever may open the socket, or shows the secret, and nobody else of the machine."""
        given = (self.headers.get("Authorization") or "").partition(" ")[2]
        is_local = self.server.secret is None and self.connection.family == socket.AF_UNIX
        return is_local or self._is_secret(given)

    # -- routes ------------------------------------------------------------------------------------

    def _list(self, _match: re.Match[str], query: dict[str, list[str]], _body: bytes) -> None:
        if query.get("kind") == ["results"]:  # a reader of before does not know the kind
            return self._send(200, self.server.service.results())
        self._send(200, self.server.wait_for(self.server.service.listed(problems=self._sees_problems())))

    def _describe(self, match: re.Match[str], _query: dict[str, list[str]], _body: bytes) -> None:
        found = self.server.service.result(match[1])
        self._send(200, found or self.server.wait_for(self.server.service.described(match[1])))

    def _freeze(self, match: re.Match[str], _query: dict[str, list[str]], body: bytes) -> None:
        try:
            request = CohortRequest.model_validate_json(body or b"{}")
        except ValidationError as error:
            raise InvalidInputError("; ".join(lines_of(error))) from error
        self._send(201, self.server.freezing.freeze(match[1], request))

    def _cohort(self, match: re.Match[str], _query: dict[str, list[str]], _body: bytes) -> None:
        self._send(200, self.server.service.cohort(match[1]))

    def _persons(self, match: re.Match[str], _query: dict[str, list[str]], _body: bytes) -> None:
        self._send(200, self.server.wait_for(self.server.service.persons(match[1])))

    def _files(self, match: re.Match[str], query: dict[str, list[str]], _body: bytes) -> None:
        limit, after = query.get("limit", [str(MOST_LISTED)])[0], query.get("after", [None])[0]
        if not limit.isdecimal() or not 0 < int(limit) <= MOST_LISTED:
            raise InvalidInputError(f"limit is a number from 1 to {MOST_LISTED}")
        path = None if after is None else unquote_to_bytes(after)
        self._send(200, self.server.service.files(match[1], path, int(limit)))

    def _forget(self, match: re.Match[str], _query: dict[str, list[str]], _body: bytes) -> None:
        self.server.service.forget(match[1])
        self._send(204, None)

    def _file(self, match: re.Match[str], _query: dict[str, list[str]], _body: bytes) -> None:
        root, dataset, file = self.server.service.file(match[1], unquote_to_bytes(match[2]))
        reader = self.server.reader(dataset)
        if not reader.acquire(blocking=False):
            raise UnavailableError(f"{_MOST_OF_DATASET} others read this dataset now; ask again")
        try:
            with opened(root, file) as content:
                self._send_bytes(content, file.size, file.sha256.hex())
        finally:
            reader.release()

    # -- answers -----------------------------------------------------------------------------------

    def _send_bytes(self, content: BinaryIO, size: int, digest: str) -> None:
        first, last = span(self.headers.get("Range"), size)
        whole = (first, last) == (0, size)
        self.send_response(200 if whole else 206)
        if not whole:
            self.send_header("Content-Range", f"bytes {first}-{last - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{digest}"')
        self._end_head("application/octet-stream", last - first)
        content.seek(first)
        left = last - first
        while left and (piece := content.read(min(_CHUNK, left))):
            self.wfile.write(piece)
            left -= len(piece)
        if left:  # it was cut while it was read: the other side must not take it for whole
            self.close_connection = True

    def _send(self, status: int, answer: BaseModel | None) -> None:
        content = b"" if answer is None else answer.model_dump_json(exclude_none=True).encode()
        self.send_response(status)
        self._end_head("application/json", len(content))
        self.wfile.write(content)

    def _refuse(self, status: int, code: str, detail: str) -> None:
        if self._head_sent:  # the other side would take this for a part of what it was promised
            self.close_connection = True
            return
        title = HTTPStatus(status).phrase
        content = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code})
        with suppress(OSError):
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", "Bearer")
            self._end_head("application/problem+json", len(content))
            self.wfile.write(content.encode())

    def _end_head(self, kind: str, length: int) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()


_Work = Callable[[_Handler, "re.Match[str]", "dict[str, list[str]]", bytes], None]


def _at(path: str) -> re.Pattern[str]:
    return re.compile(PREFIX + path)


_ROUTES: list[tuple[str, re.Pattern[str], _Work, bool]] = [
    ("GET", _at("/datasets"), _Handler._list, False),
    ("GET", _at("/datasets/([a-z0-9._-]+)"), _Handler._describe, False),
    ("POST", _at("/datasets/([a-z0-9._-]+)/cohorts"), _Handler._freeze, True),
    ("GET", _at("/cohorts/([a-z0-9-]+)"), _Handler._cohort, False),
    ("GET", _at("/cohorts/([a-z0-9-]+)/files"), _Handler._files, False),
    ("GET", _at("/cohorts/([a-z0-9-]+)/files/(.+)"), _Handler._file, False),
    ("GET", _at("/cohorts/([a-z0-9-]+)/persons"), _Handler._persons, False),
    ("DELETE", _at("/cohorts/([a-z0-9-]+)"), _Handler._forget, False),
]
