"""Signing in by authorisation code with PKCE (RFC 6749 section 4.1, RFC 7636, RFC 9207), and out again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import zlib
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request
from starlette.responses import RedirectResponse, Response

from fedproc.central.api.deps import AppState, app_state, audit_event
from fedproc.central.api.pages.access import (
    LONGEST_WAY_BACK,
    Form,
    KnownSession,
    MaybeSignedIn,
    cookie_name,
    optional_session,
    pages,
)
from fedproc.central.api.pages.rendering import page
from fedproc.central.auth.sessions import Session
from fedproc.common.errors import InvalidTokenError, UnavailableError
from fedproc.common.log import get_logger

log = get_logger(__name__)
routes = pages()

_BACK = "/dashboard/sign-in/back"
_PENDING = "fedproc-sign-in-"
_PENDING_SECONDS = 600
_MOST_PENDING = 5
"""sign-ins that a browser may have begun and not ended, one in each tab"""
_LONGEST = 2000
_MOST_UNPACKED = 64_000
_LONGEST_COOKIE = 3800
"""bytes; browsers drop a cookie that has more than 4,096 with its name and attributes (RFC 6265 section 6.1)"""
_REFUSED = {
    "access_denied": "The sign-in was refused or given up there. Try again, or ask the federation's operator for an "
    "account.",
    "login_required": "You have to sign in there first. Try again.",
}


@routes.get("/dashboard/sign-in")
async def begin_sign_in(
    request: Request,
    session: MaybeSignedIn,
    target: Annotated[str, Query(alias="next")] = "/dashboard",
) -> Response:
    """Lead the browser to the issuer; ``next`` is the page to which it comes back."""
    target = _own_page(target)
    if session is not None:
        return RedirectResponse(target, 303)
    app = app_state(request)
    endpoint = await app.issuer.browser_address("authorization_endpoint")
    if endpoint is None:
        raise UnavailableError("the issuer offers no sign-in by browser: tell the federation's operator")
    pending = secrets.token_urlsafe(32)
    asked = {
        "client_id": app.settings.issuer.dashboard_client_id,
        "response_type": "code",
        "scope": "openid",
        "redirect_uri": app.url(_BACK),
        "state": _derived(pending, "state"),
        "code_challenge": _challenge(_derived(pending, "verifier")),
        "code_challenge_method": "S256",
    }
    answer = RedirectResponse(f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}", 303)
    _forget(answer, request, app, _MOST_PENDING - 1)
    _set(answer, app, _pending_name(app, asked["state"]), _packed(pending, target), _PENDING_SECONDS)
    return answer


@routes.get(_BACK)
async def end_sign_in(
    request: Request,
    code: Annotated[str, Query(max_length=4096)] = "",
    state: Annotated[str, Query(max_length=256)] = "",
    iss: Annotated[str | None, Query(max_length=_LONGEST)] = None,
    error: Annotated[str | None, Query(max_length=256)] = None,
) -> Response:
    """The browser comes back with a code: from here on it is signed in."""
    app = app_state(request)
    pending, target = _pending(request, app, state)
    if not pending or not hmac.compare_digest(state.encode(), _derived(pending, "state").encode()):
        if await optional_session(request) is not None:
            return RedirectResponse(target, 303)  # the way back was gone twice
        text = f"This sign-in was begun in another browser or too long ago. Begin it again at {app.url('/dashboard')}."
        return _not_signed_in(request, text)
    if error is not None or not code or iss not in {None, app.settings.issuer.url}:
        log.info("session.refused", reason=str(error))
        return _not_signed_in(request, _REFUSED.get(str(error), "The issuer did not sign you in. Try again."))
    return await _signed_in(request, {"code": code, "code_verifier": _derived(pending, "verifier")}, target, state)


async def _signed_in(request: Request, proof: dict[str, str], target: str, state: str) -> Response:
    app, audit = app_state(request), audit_event(request)
    form = {"grant_type": "authorization_code", "redirect_uri": app.url(_BACK), **proof}
    status, body = await app.issuer.grant_to_browser(form)
    if status == 429:
        raise UnavailableError("the issuer has too many sign-ins at once; try again", code="unavailable.issuer")
    if status != 200 or "access_token" not in body:
        audit.is_action, audit.target = True, "dashboard"
        log.info("session.refused", reason=str(body.get("error")))
        return _not_signed_in(request, "The issuer does not take back its code, which lives for a minute. Try again.")
    try:
        session = await app.sessions.begin(body)
    except InvalidTokenError as error:
        log.warning("session.token_refused", reason=error.message)
        text = f"You are signed in at the issuer, but not for this API: {error.message}. Tell the operator."
        return _not_signed_in(request, text)
    audit.is_action, audit.actor = True, session.subject
    answer = RedirectResponse(target, 303)
    _set(answer, app, cookie_name(app), session.cookie, None)
    _delete(answer, app, _pending_name(app, state))
    return answer


def _not_signed_in(request: Request, text: str) -> Response:
    return page(request, "fault.html", {"status": 401, "title": "Not signed in", "text": text, "before": ""}, 401)


@routes.post("/dashboard/sign-out")
async def sign_out(request: Request, session: KnownSession, form: Form) -> Response:
    """End the session here and at the issuer, which leads the browser back."""
    app = app_state(request)
    audit_event(request).is_action = True
    await app.sessions.end(session)
    answer = RedirectResponse(await _issuers_end(app, session) or "/dashboard", 303)
    _delete(answer, app, cookie_name(app))
    return answer


async def _issuers_end(app: AppState, session: Session) -> str | None:
    """Where the issuer ends its own session (OpenID Connect RP-Initiated Logout 1.0)."""
    try:
        endpoint = await app.issuer.browser_address("end_session_endpoint")
    except UnavailableError:
        return None
    if endpoint is None:
        return None
    hint = {"id_token_hint": session.tokens.identity} if session.tokens.identity else {}
    client = app.settings.issuer.dashboard_client_id
    return f"{endpoint}?{urlencode({'client_id': client, 'post_logout_redirect_uri': app.url('/dashboard'), **hint})}"


def _own_page(target: str) -> str:
    """A page of ours, so that nobody is led elsewhere by a link to the sign-in."""
    own = target.startswith(("/dashboard", "/new?")) and target.isprintable() and "\\" not in target
    return target if own and len(target) <= LONGEST_WAY_BACK else "/dashboard"


def _pending_name(app: AppState, state: str) -> str:
    """Each sign-in has its own, so that two tabs do not disturb each other; over TLS only this very host sets it."""
    return f"{_prefix(app)}{''.join(filter(_is_of_base64url, state))[:8]}"


def _is_of_base64url(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in "-_")


def _prefix(app: AppState) -> str:
    return ("__Host-" if _secure(app) else "") + _PENDING


def _forget(answer: Response, request: Request, app: AppState, most: int) -> None:
    """All but so many of the sign-ins that were begun and not ended."""
    begun = [name for name in request.cookies if name.startswith(_prefix(app))]
    for name in begun[: max(0, len(begun) - most)]:
        _delete(answer, app, name)


def _packed(pending: str, target: str) -> str:
    packed = _text(zlib.compress(json.dumps([pending, target], ensure_ascii=False).encode(), 9))
    return packed if len(packed) <= _LONGEST_COOKIE else _packed(pending, "/dashboard")


def _pending(request: Request, app: AppState, state: str) -> tuple[str, str]:
    packed = request.cookies.get(_pending_name(app, state), "")
    try:
        raw = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        pending, target = json.loads(zlib.decompressobj().decompress(raw, _MOST_UNPACKED))
    except (ValueError, TypeError, zlib.error):
        return "", "/dashboard"
    return str(pending), _own_page(str(target))


def _set(answer: Response, app: AppState, name: str, value: str, seconds: int | None) -> None:
    answer.set_cookie(name, value, max_age=seconds, path="/", secure=_secure(app), httponly=True, samesite="lax")


def _delete(answer: Response, app: AppState, name: str) -> None:
    answer.delete_cookie(name, "/", secure=_secure(app), httponly=True, samesite="lax")


def _secure(app: AppState) -> bool:
    return app.settings.public_url.startswith("https:")


def _derived(pending: str, purpose: str) -> str:
    """State and verifier follow from one random cookie."""
    return _text(hmac.digest(pending.encode(), purpose.encode(), hashlib.sha256))


def _challenge(verifier: str) -> str:
    return _text(hashlib.sha256(verifier.encode()).digest())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
