"""Errors as problem details (RFC 9457). The one place that says which error has which HTTP status."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match

from fedproc.common.errors import (
    ChecksumError,
    ConflictError,
    CutOffError,
    FedprocError,
    ForbiddenError,
    GoneError,
    InvalidInputError,
    InvalidTokenError,
    LockedError,
    MalformedRequestError,
    MediaTypeError,
    NotAuthenticatedError,
    NotFoundError,
    PreconditionError,
    RangeError,
    StorageFullError,
    TooLargeError,
    TooManyRequestsError,
    UnavailableError,
    UnreadableError,
)
from fedproc.contract.api.base import Problem
from fedproc.contract.api.faults import fault_of

MEDIA_TYPE = "application/problem+json"
_TOLD = 10
"""so many faults are told in the text; ``errors`` has all"""

STATUS: Mapping[type[FedprocError], int] = {
    MalformedRequestError: 400,
    NotAuthenticatedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    CutOffError: 408,
    ConflictError: 409,
    GoneError: 410,
    PreconditionError: 412,
    TooLargeError: 413,
    MediaTypeError: 415,
    RangeError: 416,
    InvalidInputError: 422,
    UnreadableError: 422,
    LockedError: 423,
    TooManyRequestsError: 429,
    ChecksumError: 460,
    UnavailableError: 503,
    StorageFullError: 507,
}
"""An error without an entry has that of the class above it (460: tus, extension checksum)."""
_WITH_PAGES = frozenset({"experiments", "datasets", "hosts", "tools", "submissions"})
_DEEPEST_PAGE = 2
_TITLES = {460: "Checksum Mismatch"}

REALM = 'Bearer realm="fedproc"'
_CHALLENGES: Mapping[type[FedprocError], str] = {
    InvalidTokenError: "invalid_token",
    ForbiddenError: "insufficient_scope",
}


class ProblemResponse(Response):
    """An answer of type ``application/problem+json``."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode()


def status_of(error: FedprocError) -> int:
    """The HTTP status of an error; 500 for one that no client can have caused."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def problem(
    status: int,
    detail: str,
    code: str,
    *,
    instance: str | None = None,
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    """One problem document."""
    view = Problem(
        title=title_of(status), status=status, detail=detail, instance=instance, code=code, errors=errors or []
    )
    return ProblemResponse(view.model_dump(exclude_none=True), status, dict(headers or {}))


def title_of(status: int) -> str:
    """The reason phrase that belongs to the status."""
    return _TITLES.get(status) or HTTPStatus(status).phrase


def from_error(error: FedprocError, instance: str | None = None) -> ProblemResponse:
    """The answer to an error of ours, with the headers that its status calls for."""
    status = status_of(error)
    headers: dict[str, str] = dict(error.detail.get("headers", {}))
    if status == 401:
        headers.setdefault("WWW-Authenticate", _challenge(error))
    elif status == 403:
        headers["WWW-Authenticate"] = _challenge(error)
    elif status in {423, 503}:
        headers.setdefault("Retry-After", "2")
    return problem(
        status, error.message, error.code, instance=instance, errors=error.detail.get("errors"), headers=headers
    )


def _challenge(error: FedprocError) -> str:
    """RFC 6750 section 3.1: no error attribute where no token was sent."""
    kind_of_error = next((name for kind, name in _CHALLENGES.items() if isinstance(error, kind)), None)
    if kind_of_error is None:
        return REALM
    text = "".join(character for character in error.message if " " <= character <= "~" and character not in '"\\')
    return f'{REALM}, error="{kind_of_error}", error_description="{text}"'


def from_validation(
    entries: Iterable[Mapping[str, Any]], instance: str | None, model: type[BaseModel] | None = None
) -> ProblemResponse:
    """The answer to input of the wrong shape: every fault with its place, never the value itself.

    ``model`` is what the body was to be: of a key that it does not know, the nearest that it does is told.
    """
    errors = [_shape_error(entry, model) for entry in entries]
    first = "; ".join(f"{error['where']} {error['what']}" for error in errors[:_TOLD])
    more = f"; and {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
    detail = f"the request is not as the API takes it: {first}{more}; /docs has the shape of each request"
    return problem(422, detail, InvalidInputError.code, instance=instance, errors=errors[:100])


def _shape_error(entry: Mapping[str, Any], model: type[BaseModel] | None) -> dict[str, Any]:
    where, code = ".".join(map(str, entry["loc"])), entry["type"]
    if code == "json_invalid":
        what = f"is not JSON: {entry.get('ctx', {}).get('error', entry['msg'])}"
    elif tuple(entry["loc"]) == ("body",):
        what = "must be a JSON object, sent with Content-Type: application/json"
    else:
        what = fault_of(entry, model, above=int(entry["loc"][:1] == ("body",))).what
    return {"where": where, "what": what, "code": code}


def install(app: FastAPI) -> None:
    """Have every error of the application answered as a problem."""

    @app.exception_handler(FedprocError)
    async def _ours(request: Request, error: FedprocError) -> Response:
        if isinstance(error, NotAuthenticatedError) and _is_opened_by_a_person(request):
            return _to_its_page(request.url.path)
        return from_error(error, request.url.path)

    @app.exception_handler(RequestValidationError)
    async def _shape(request: Request, error: RequestValidationError) -> Response:
        return from_validation(error.errors(), request.url.path, _model_of(request))

    @app.exception_handler(HTTPException)
    async def _framework(request: Request, error: HTTPException) -> Response:
        code, headers = HTTPStatus(error.status_code).name.lower(), dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(request))
        text = _explain(request, error, headers)
        return problem(error.status_code, text, code, instance=request.url.path, headers=headers)


def _is_opened_by_a_person(request: Request) -> bool:
    """As an address is that somebody types or follows; what a page fetches says otherwise."""
    headers = request.headers
    is_document = headers.get("sec-fetch-dest", "document") == "document"
    return request.method == "GET" and "text/html" in headers.get("accept", "") and is_document


def _to_its_page(path: str) -> Response:
    """By way of the sign-in to the page of the dashboard that shows the same, or to the first one."""
    parts = path.strip("/").split("/")
    own = f"/{'/'.join(parts)}" if parts[0] in _WITH_PAGES and len(parts) <= _DEEPEST_PAGE else ""
    query = urlencode({"next": f"/dashboard{own}"})
    return RedirectResponse(f"/dashboard/sign-in?{query}", 303, {"Vary": "Accept"})


def _model_of(request: Request) -> type[BaseModel] | None:
    """The model of the body of the request's endpoint."""
    body = getattr(request.scope.get("route"), "body_field", None)
    return None if body is None else body.field_info.annotation


def _methods(request: Request) -> list[str]:
    """All that the path takes, whichever of its routes was met first (RFC 9110 section 15.5.6)."""
    routes = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for route in routes for method in getattr(route, "methods", None) or ()})


def _explain(request: Request, error: HTTPException, headers: Mapping[str, str]) -> str:
    if error.status_code == 404:
        return "there is nothing at this path; /docs lists what there is"
    if error.status_code == 405:
        return f"{request.method} is not for this path; it takes {headers['Allow']}"
    if error.status_code == 400:
        return "the body cannot be read as what its Content-Type says; /docs has the shape of each request"
    return error.detail
