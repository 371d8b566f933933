"""``POST /token`` (D6.1): the OAuth2 password form, passed on to the issuer (RFC 6749 sections 4.3, 5 and 6)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Form, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from fedproc.central.api.deps import app_state, audit_event
from fedproc.central.api.problems import REALM, title_of
from fedproc.central.api.routes.common import router
from fedproc.central.auth.issuer import Issuer
from fedproc.contract.api.base import Token, shown

routes = router("authentication")

_NEVER_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_PASSED_ON = ("access_token", "token_type", "expires_in", "refresh_token", "scope")


class TokenForm(BaseModel):
    """``username`` and ``password``, or ``refresh_token``."""

    model_config = shown({"grant_type": "password", "username": "rosa", "password": "the password"})

    grant_type: str = "password"
    username: str = ""
    password: str = ""
    refresh_token: str = ""
    scope: str = ""


@routes.post("/token", response_model=Token)
async def get_token(request: Request, form: Annotated[TokenForm, Form()]) -> Response:
    """An access token for a user's name and password, or for a refresh token."""
    issuer = app_state(request).issuer
    audit_event(request).target = form.username or None
    if (refusal := _shape(form)) is not None:
        return refusal
    if form.grant_type == "password" and "password" not in (await issuer.grants())[0]:
        return await _no_passwords(issuer)
    status, body = await issuer.grant(_request(form))
    if status == 200 and "access_token" in body:
        return JSONResponse({name: body[name] for name in _PASSED_ON if name in body}, headers=_NEVER_STORED)
    return await _refused(issuer, form, body)


def _shape(form: TokenForm) -> Response | None:
    if form.grant_type not in {"password", "refresh_token"}:
        return _error(400, "unsupported_grant_type", "grant_type must be password or refresh_token")
    if form.grant_type == "password" and not (form.username and form.password):
        return _error(400, "invalid_request", "the form needs username and password")
    if form.grant_type == "refresh_token" and not form.refresh_token:
        return _error(400, "invalid_request", "the form needs refresh_token")
    return None


def _request(form: TokenForm) -> dict[str, str]:
    if form.grant_type == "refresh_token":
        return {"grant_type": "refresh_token", "refresh_token": form.refresh_token}
    scope = {"scope": form.scope} if form.scope else {}
    return {"grant_type": "password", "username": form.username, "password": form.password, **scope}


async def _refused(issuer: Issuer, form: TokenForm, body: dict[str, Any]) -> Response:
    error = str(body.get("error", "invalid_request"))
    if error in {"unauthorized_client", "unsupported_grant_type"}:
        return await _no_passwords(issuer)
    if error == "invalid_client":
        return _error(503, "temporarily_unavailable", "the issuer does not know this API's client; tell the operator")
    if error == "invalid_grant" and form.grant_type == "password":
        return _error(401, error, "user name or password is wrong")
    if error == "invalid_grant":
        return _error(400, error, "the refresh token does not count any more; sign in again")
    return _error(400, error, str(body.get("error_description", "the issuer refused the request")))


async def _no_passwords(issuer: Issuer) -> Response:
    device = (await issuer.grants())[1]
    way = f"use the device flow, which begins at {device}" if device else "use the browser sign-in of the dashboard"
    return _error(400, "unsupported_grant_type", f"this federation's issuer takes no passwords: {way}")


def _error(status: int, error: str, text: str) -> Response:
    """RFC 6749 section 5.2, and the members of a problem beside it."""
    body = {"error": error, "error_description": text}
    problem = {"title": title_of(status), "status": status, "detail": text, "code": f"oauth.{error}"}
    headers = {**_NEVER_STORED, **({"WWW-Authenticate": REALM} if status == 401 else {})}
    return JSONResponse({**body, **problem}, status, headers)
