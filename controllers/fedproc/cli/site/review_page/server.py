"""Serving the review page: on the loopback interface, to whoever has the one-time link, under the reviewer's account.

It is a program of its own, and asks the orchestrator by its socket as the commands do: who decides is the account that
runs it. Nothing of it is in the orchestrator. No page has a script; the browser is told to load nothing from elsewhere.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fedproc.cli.site.release_client import ReleaseClient
from fedproc.cli.site.review_page import pages
from fedproc.common.errors import FedprocError, ForbiddenError, InvalidInputError, NotFoundError

LINK_SECONDS = 600.0
"""that the link is good, and it is good once"""
_COOKIE = "fedproc_review"
_NAME_BYTES = 16
_MOST = 4 << 20
_PICTURE_BYTES = 64 << 20
_JOB = re.compile(r"/job/(j-[0-9a-v]{26})(/file|/bytes)?")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class ReviewServer(ThreadingHTTPServer):
    """At 127.0.0.1 on ``port``; 0 takes a free one. Raises OSError if it is taken."""

    daemon_threads = True

    def __init__(self, client: ReleaseClient, host: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.client = client
        self.host = host
        self.notice = ""
        """what was decided last, until a page has said so"""
        self.session, self.form_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.name = f"{secrets.token_hex(_NAME_BYTES)}.localhost:{self.server_port}"
        """By which alone it may be called. Cookies know names and no ports: another server of the loopback interface
        has another name, and does not know this one."""
        self.used = time.monotonic()
        self._token, self._until = secrets.token_urlsafe(32), time.monotonic() + LINK_SECONDS
        self._opening = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """No traceback in the reviewer's terminal where a browser gave a connection up."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def link(self) -> str:
        """What opens the page, once."""
        return f"{self.origin}/open?token={self._token}"

    def admits(self, token: str) -> bool:
        """Whether this is the token of the link, for the first time, and in time."""
        with self._opening:
            good = bool(self._token) and _same(token, self._token) and time.monotonic() < self._until
            self._token = "" if good else self._token
            return good

    @property
    def origin(self) -> str:
        """Where a browser finds it."""
        return f"http://{self.name}"


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "fedproc", ""
    timeout = 30

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        self._answered(self._post)

    def log_message(self, *_: Any) -> None:
        """Nothing: an address may hold the one-time token."""

    def _answered(self, act: Callable[[], None]) -> None:
        self.server.used = time.monotonic()
        self.close_connection = True  # a form that was refused unread must not be taken for the next request
        with contextlib.suppress(ConnectionError):  # whoever asked has gone
            self._answer(act)

    def _answer(self, act: Callable[[], None]) -> None:
        try:
            self._check_name()
            act()
        except NotFoundError as error:
            self._page(404, pages.notice("Not here", error.message))
        except ForbiddenError as error:
            self._page(403, pages.notice("Not allowed", error.message))
        except FedprocError as error:
            self._page(409, pages.notice("That did not work", error.message))

    def _check_name(self) -> None:
        if not _same(self.headers.get("Host", ""), self.server.name):
            raise ForbiddenError("this page has another name; open the link as fedproc site review printed it")

    # -- reading ---------------------------------------------------------------------------------

    def _get(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/style.css":
            return self._send(200, "text/css", files(__package__).joinpath("style.css").read_bytes())
        if parts.path == "/open":
            return self._open(query.get("token", ""))
        self._check_session()
        if parts.path == "/":
            notice, self.server.notice = self.server.notice, ""
            return self._page(200, pages.overview(self.server.host, self.server.client.all(), notice))
        found = _JOB.fullmatch(parts.path)
        if found is None:
            raise NotFoundError("there is no such page")
        self._job(found[1], found[2], query.get("path", ""))

    def _open(self, token: str) -> None:
        if not self.server.admits(token):
            raise ForbiddenError("the link was used, or is too old: run fedproc site review again")
        cookie = f"{_COOKIE}={self.server.session}; Path=/; HttpOnly; SameSite=Strict"
        self._send(303, "text/plain", b"", {"Location": "/", "Set-Cookie": cookie})

    def _check_session(self) -> None:
        try:
            given = SimpleCookie(self.headers.get("Cookie", "")).get(_COOKIE)
        except CookieError:
            given = None
        if given is None or not _same(given.value, self.server.session):
            raise ForbiddenError("open the link that fedproc site review printed")

    def _job(self, job: str, part: str | None, path: str) -> None:
        client = self.server.client
        entry = client.one(job)
        if part is None:
            return self._page(200, pages.job(entry, self.server.form_token, self.server.host))
        file = next((each for each in entry["files"] if each["path"] == path), None)
        if file is None:
            raise NotFoundError("there is no such file")
        content = client.content(job, path)
        if part == "/file":
            shown = pages.file_page(entry, file, content, self.server.form_token, self.server.host)
            return self._page(200, shown)
        if content.kind != "picture":
            raise ForbiddenError("only pictures are sent as they are")
        source = client.file(job, path)
        if source.size > _PICTURE_BYTES:
            raise InvalidInputError("the picture is too large to be shown")
        self._send(200, content.media_type, source.readall())

    # -- deciding --------------------------------------------------------------------------------

    def _post(self) -> None:
        self._check_session()
        origin = self.headers.get("Origin")
        if origin is not None and not _same(origin, self.server.origin):
            raise ForbiddenError("the form comes from another page")
        form = self._form()
        if not _same(form.get("form_token", [""])[0], self.server.form_token):
            raise ForbiddenError("the form is of another session")
        found = _JOB.fullmatch(self.path)
        if found is None or found[2]:
            raise NotFoundError("there is no such page")
        try:
            self._decide(found[1], form)
        except ForbiddenError:
            raise
        except FedprocError as error:
            typed = pages.Typed(error.message, form.get("reason", [""])[0], form.get("file", ()))
            entry = self.server.client.one(found[1])  # which says so, if it waits no more
            self._page(409, pages.job(entry, self.server.form_token, self.server.host, typed))

    def _decide(self, job: str, form: dict[str, list[str]]) -> None:
        chosen = [each.partition(" ")[::2] for each in form.get("file", [])]
        if not chosen:
            raise InvalidInputError("tick the files that you decide about")
        decision, reason = form.get("decision", [""])[0], form.get("reason", [""])[0]
        if decision not in ("release", "refuse"):
            raise InvalidInputError("choose to release or to keep them")
        hashes = {path: digest for digest, path in chosen}
        done = self.server.client.decide(job, release=decision == "release", reason=reason, files=hashes)
        self.server.notice = "" if done["open"] else pages.decided(job, list(hashes), decision == "release")
        self._send(303, "text/plain", b"", {"Location": f"/job/{job}" if done["open"] else "/"})

    def _form(self) -> dict[str, list[str]]:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MOST:
            raise InvalidInputError("the form is too large")
        return parse_qs(self.rfile.read(int(length)).decode("utf-8", "replace"))

    # -- answering -------------------------------------------------------------------------------

    def _page(self, status: int, page: str) -> None:
        self._send(status, "text/html", page.encode("utf-8", "backslashreplace"))

    def _send(self, status: int, kind: str, content: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        media_type = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        headers = {
            **HEADERS,
            "Content-Type": media_type,
            "Content-Length": str(len(content)),
            "Connection": "close",
            **(more or {}),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _same(given: str, own: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), own.encode())
