"""Around every page: who asks, that a form is ours, and what a person is told when something cannot be done."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from fedproc.central.api.deps import AppState, app_state, audit_event
from fedproc.central.api.pages.backend import ApiError, Backend
from fedproc.central.api.pages.formatting import in_pages
from fedproc.central.api.pages.rendering import guarded, page
from fedproc.central.api.problems import status_of, title_of
from fedproc.central.auth.sessions import Session
from fedproc.common.errors import FedprocError, ForbiddenError, NotAuthenticatedError
from fedproc.common.log import get_logger

log = get_logger(__name__)

LONGEST_WAY_BACK = 5_000
"""characters of an address to which one comes back by signing in: of a form as it was filled"""
_FORM_FIELDS = 3_000
"""what the largest form has: a hundred hosts with what may differ at each, and their datasets"""


class PageRoute(APIRoute):
    """A page's fault is a page, and its act is written down by the endpoint of the API that does it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            audit_event(request).is_action = False
            try:
                return guarded(request, await handle(request))
            except (FedprocError, RequestValidationError, HTTPException) as error:
                await _end_refused(request, error)
                return guarded(request, error_page(request, error))
            except Exception:
                error_id = uuid.uuid4().hex
                log.exception("page.failed", error_id=error_id, path=request.url.path)
                return _own_fault(request, error_id)

        return answered


async def _end_refused(request: Request, error: Exception) -> None:
    """A session whose tokens the API does not take would be led to the sign-in, and from there back, without end."""
    session: Session | None = getattr(request.state, "session", None)
    if isinstance(error, ApiError) and error.status == 401 and session is not None:
        await app_state(request).sessions.end(session)
        del request.state.session


def _own_fault(request: Request, error_id: str) -> Response:
    text = f"This page failed; the API's log has the cause under {error_id}. Tell the federation's operator."
    return page(request, "fault.html", {"status": 500, "title": title_of(500), "text": text, "before": ""}, 500)


def pages() -> APIRouter:
    """A router for pages."""
    return APIRouter(route_class=PageRoute, include_in_schema=False)


def cookie_name(app: AppState) -> str:
    """Over TLS one that only this very host can have set (RFC 6265bis, ``__Host-``)."""
    return "__Host-fedproc" if app.settings.public_url.startswith("https:") else "fedproc"


async def known_session(request: Request) -> Session:
    """Whose session the cookie opens, whether or not the issuer is there. Raises :class:`NotAuthenticatedError`."""
    app = app_state(request)
    return _seen(request, await app.sessions.read(request.cookies.get(cookie_name(app), "")))


async def optional_session(request: Request) -> Session | None:
    """The same; None for who has none."""
    try:
        return await known_session(request)
    except NotAuthenticatedError:
        return None


async def signed_in(request: Request, known: Annotated[Session, Depends(known_session)]) -> Session:
    """With an access token that is good for a while. Raises :class:`NotAuthenticatedError`."""
    try:
        return _seen(request, await app_state(request).sessions.find(known.cookie))
    except NotAuthenticatedError:
        del request.state.session
        raise


def _seen(request: Request, session: Session) -> Session:
    request.state.session = session
    audit_event(request).actor = session.subject
    return session


def as_user(request: Request, session: Session) -> Backend:
    """The API as who is signed in; what it does not take any more is renewed once."""

    async def renewed() -> str:
        return _seen(request, await app_state(request).sessions.renew(session)).tokens.access

    return Backend(request.app, session.tokens.access, renewed)


async def backend(request: Request, session: Annotated[Session, Depends(signed_in)]) -> Backend:
    return as_user(request, session)


def _checked_form(files: int) -> Callable[[Request, Session], AsyncIterator[FormData]]:
    """A form that a page of this session sent, with so many files. Raises :class:`ForbiddenError` for any other."""

    async def checked(request: Request, session: Annotated[Session, Depends(known_session)]) -> AsyncIterator[FormData]:
        if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise _foreign_form()
        async with request.form(max_files=files, max_fields=_FORM_FIELDS) as form:
            token = str(form.get("form_token", ""))
            if not hmac.compare_digest(token.encode(), session.form_token.encode()):
                raise _foreign_form()
            yield form

    return checked


def _foreign_form() -> ForbiddenError:
    text = "this form is not of your present sign-in, so nothing was done: open the page again, and send it from there"
    return ForbiddenError(text, code="forbidden.form")


def typed_at(address_of: Callable[[FormData], str]) -> Any:
    """A dependency by which each fault of a form leads back to it as it was filled, also who has to sign in first."""

    async def read(request: Request) -> None:
        request.state.typed = address_of(await request.form(max_files=0, max_fields=_FORM_FIELDS))

    return Depends(read)


KnownSession = Annotated[Session, Depends(known_session)]
Api = Annotated[Backend, Depends(backend)]
SignedIn = Annotated[Session, Depends(signed_in)]
MaybeSignedIn = Annotated[Session | None, Depends(optional_session)]
Form = Annotated[FormData, Depends(_checked_form(0))]
FormWithFile = Annotated[FormData, Depends(_checked_form(1))]

_TITLES = {
    401: "Not signed in", 403: "Not allowed", 404: "Not found", 409: "Not possible as it stands", 413: "Too large",
    422: "Not understood", 429: "Too much at once", 503: "Not available just now",
}  # fmt: skip


def error_page(request: Request, error: Exception) -> Response:
    """What went wrong, as a page; who is not signed in is led to sign in, and comes back."""
    status, text = _told(error)
    title = "Recalled" if getattr(error, "code", "") == "not_found.recalled" else _TITLES.get(status, title_of(status))
    if status == 401 and request.method == "GET" and request.headers.get("sec-fetch-dest", "document") == "document":
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse("/dashboard/sign-in?" + urlencode({"next": target}), 303)
    if status == 401 and hasattr(request.state, "typed"):
        is_kept = 0 < len(_typed(request)) <= LONGEST_WAY_BACK
        kept = "what you typed is kept" if is_kept else "what you typed is too long to be kept"
        text = f"{text}. Nothing was started, and {kept}"
    values = {"status": status, "title": title, "text": text, "before": _before(request)}
    return page(request, "fault.html", values, status)


def _typed(request: Request) -> str:
    return str(getattr(request.state, "typed", ""))


def _before(request: Request) -> str:
    """The page from which a form was sent, with what was typed where it has an address; empty if there is none."""
    if typed := _typed(request):
        return typed
    came = urlsplit(request.headers.get("referer", ""))
    is_ours = came.netloc == request.headers.get("host") and came.path.startswith("/dashboard")
    is_other = request.method == "POST" or came.path != request.url.path
    return (came.path + (f"?{came.query}" if came.query else "")) if is_ours and is_other else ""


def _told(error: Exception) -> tuple[int, str]:
    if isinstance(error, ApiError):
        return error.status, error.shown
    if isinstance(error, FedprocError):
        return status_of(error), in_pages(error.message)
    if isinstance(error, HTTPException):
        return error.status_code, error.detail
    return 422, "the address of this page, or what was sent to it, is not as the page takes it: begin at the start page"
