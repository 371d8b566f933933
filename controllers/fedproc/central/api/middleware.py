"""Around every request: the bound on its body, its place in the audit, metrics, log line, and the last resort.

One pure ASGI layer, because each layer is paid for by every request.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedproc.central.api.audit import AuditEvent, AuditLog
from fedproc.central.api.metrics import Metrics
from fedproc.central.api.problems import problem
from fedproc.common.errors import UnavailableError
from fedproc.common.log import get_logger

log = get_logger(__name__)

MAX_BODY = 4 << 20
"""Bytes of an ordinary request body."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


def bounded_by(size: float) -> Callable[[_Endpoint], _Endpoint]:
    """Let an endpoint have a larger body; infinity for one that reads it piece by piece and bounds it itself."""

    def mark(endpoint: _Endpoint) -> _Endpoint:
        endpoint.max_body = size  # type: ignore[attr-defined]
        return endpoint

    return mark


class RequestMiddleware:
    """The outermost layer of ours; ``app`` is the rest of the application."""

    def __init__(self, app: ASGIApp, audit_log: AuditLog, metrics: Metrics) -> None:
        self._app = app
        self._audit_log = audit_log
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._audit_log)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            error_id = uuid.uuid4().hex
            log.exception("request.failed", error_id=error_id, **_what(scope))
            if exchange.status:
                raise  # an answer had begun: only the broken connection can still say so
            await _internal_error(error_id)(scope, exchange.receive, exchange.send)
        finally:
            self._count(exchange, scope)

    def _count(self, exchange: _Exchange, scope: Scope) -> None:
        seconds = time.perf_counter() - exchange.began
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = scope.get("route")
        self._metrics.answered(method, route.path if route else "none", exchange.status, seconds)
        level = logging.INFO if exchange.audit.is_action or exchange.status >= 500 else logging.DEBUG
        if log.isEnabledFor(level):
            outcome = {"status": exchange.status, "milliseconds": round(seconds * 1000, 2)}
            log.log(level, "request.answered", **_what(scope), actor=exchange.audit.actor, **outcome)


def _what(scope: Scope) -> dict[str, str]:
    return {"method": scope["method"], "path": scope["path"]}


def _internal_error(error_id: str) -> ASGIApp:
    detail = f"the API failed at this; its log has the cause under {error_id}: tell its operator"
    return problem(500, detail, "internal", instance=f"urn:uuid:{uuid.UUID(error_id)}")


class _Exchange:
    """One request on its way in, and its answer on the way out."""

    __slots__ = ("_answered", "_audit_log", "_receive", "_scope", "_send", "_size", "audit", "began", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send, audit_log: AuditLog) -> None:
        self.began = time.perf_counter()
        self.status = 0
        self.audit = scope["fedproc.audit_event"] = AuditEvent(scope)
        self._scope = scope
        self._receive = receive
        self._send = send
        self._audit_log = audit_log
        self._size = 0
        self._answered = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            if self._size > MAX_BODY and self._size > (most := self._most()):
                raise HTTPException(413, f"the body of this request may have {most} bytes; send less")
        return message

    def _most(self) -> float:
        route = self._scope.get("route")
        return getattr(route.endpoint, "max_body", MAX_BODY) if route is not None else MAX_BODY

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"].append(_NO_SNIFFING)
            if self.audit.unrecorded(self.status):
                await self._record()
        if not self._answered:
            await self._send(message)

    async def _record(self) -> None:
        """Of an act that cannot be written down, what was to be answered is not said."""
        try:
            await self._audit_log.append(self.audit.entry(self.status))
        except UnavailableError as error:
            self.status, self._answered = 503, True
            await problem(503, error.message, error.code)(self._scope, self._receive, self._send)
