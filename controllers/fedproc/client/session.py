"""Who the command line is signed in as, and where: from the environment, or as ``fedproc login`` left it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from pydantic import BaseModel, ValidationError

from fedproc.client.api import Client
from fedproc.client.transport import trusted
from fedproc.common.errors import InvalidInputError, NotAuthenticatedError, UnavailableError
from fedproc.common.files import write_atomically
from fedproc.common.http import TRANSIENT, problem_of, text_of
from fedproc.contract.api.base import Token

CLIENT_ID = "fedproc-cli"
_LONGEST_PAUSE = 30.0
"""seconds between two questions of an issuer that does not answer"""
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Session(BaseModel):
    """What ``login`` keeps: no password, only tokens. ``expires`` is in seconds since 1970."""

    url: str
    ca_file: str | None = None
    token: Token
    expires: float


def session_file() -> Path:
    """``$XDG_CONFIG_HOME/fedproc/session.json`` (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "fedproc" / "session.json"


def stored() -> Session | None:
    """The session that ``login`` left, if any. Raises :class:`InvalidInputError` if the file is damaged."""
    path = session_file()
    try:
        return Session.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise InvalidInputError(f"{path} cannot be read: remove it, then run fedproc login") from error


def keep(url: str, ca_file: str | None, token: Token) -> None:
    """Keep a session for the commands to come; nobody but its user can read it."""
    session = Session(url=url, ca_file=ca_file, token=token, expires=time.time() + token.expires_in)
    path = session_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, session.model_dump_json(exclude_none=True).encode(), 0o600)


def forget() -> bool:
    """Forget the session; returns whether there was one."""
    there = session_file().exists()
    session_file().unlink(missing_ok=True)
    return there


def address(given: str | None = None, *, cure: str = "or run fedproc login --url URL") -> str:
    """The API's address: given, ``FEDPROC_URL``, or that of the last login; where there is none, ``cure`` ends why."""
    session = stored()
    url = given or os.environ.get("FEDPROC_URL") or (session.url if session else None)
    if not url:
        raise InvalidInputError(f"which API? set FEDPROC_URL (in a demo: source .demo/env), {cure}")
    return url


def authority() -> str | None:
    """The file with the CA of the API's certificate, if the system's do not do: ``FEDPROC_CA``, or the login's."""
    session = stored()
    return os.environ.get("FEDPROC_CA") or (session.ca_file if session else None)


@contextmanager
def signed_in(*, operator: bool = False) -> Iterator[Client]:
    """A client for one command. What it renews of the token is kept.

    ``FEDPROC_USERNAME`` and ``FEDPROC_PASSWORD`` go before a kept session; with ``operator``,
    ``FEDPROC_OPERATOR_USERNAME`` and ``FEDPROC_OPERATOR_PASSWORD`` go before those. A password may stand in a file
    instead, which ``FEDPROC_PASSWORD_FILE`` or ``FEDPROC_OPERATOR_PASSWORD_FILE`` names.
    """
    url, session = address(), stored()
    username, password = _credentials(operator)
    if username and password:
        client = Client(url, username=username, password=password, ca_file=authority())
    elif session and session.url == url:
        left = max(0, round(session.expires - time.time()))
        token = session.token.model_copy(update={"expires_in": left})
        client = Client(url, token=token, ca_file=authority())
    else:
        raise NotAuthenticatedError(f"not signed in at {url}: run fedproc login")
    try:
        yield client
        if session and client.token and client.token.access_token != session.token.access_token and not username:
            keep(url, session.ca_file, client.token)
    finally:
        client.close()


def _credentials(operator: bool) -> tuple[str | None, str | None]:
    for prefix in ("FEDPROC_OPERATOR_", "FEDPROC_") if operator else ("FEDPROC_",):
        username, password = os.environ.get(prefix + "USERNAME"), password_of(prefix)
        if username and password:
            return username, password
    return None, None


def named_in_environment() -> str | None:
    """Whose commands these are by ``FEDPROC_USERNAME`` and a password, which go before a kept session."""
    return _credentials(operator=False)[0]


def password_for(username: str) -> str | None:
    """The password in the environment, if it is that of ``username``: one that is set with a name is that one's."""
    for prefix in ("FEDPROC_", "FEDPROC_OPERATOR_"):
        if os.environ.get(prefix + "USERNAME") == username:
            return password_of(prefix)
    return None if os.environ.get("FEDPROC_USERNAME") else password_of()


def password_of(prefix: str = "FEDPROC_") -> str | None:
    """The password in the environment, or in the file that it names. Raises :class:`InvalidInputError` for the file."""
    file = os.environ.get(prefix + "PASSWORD_FILE")
    if os.environ.get(prefix + "PASSWORD") or not file:
        return os.environ.get(prefix + "PASSWORD")
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{prefix}PASSWORD_FILE={file}: {error}") from error


def device_token(issuer: str, ca_file: str | None, notify: Callable[[str, str], None]) -> Token:
    """Sign in with a browser (RFC 8628): ``notify`` is given the address to open and the code to type there.

    Raises :class:`NotAuthenticatedError` if it is refused or not done in time, :class:`UnavailableError` without the
    issuer.
    """
    with httpx.Client(verify=trusted(ca_file), timeout=30) as http:
        try:
            found = _Issuer.model_validate_json(
                http.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration").raise_for_status().content
            )
            form = {"client_id": CLIENT_ID, "scope": "openid offline_access"}
            asked = _Asked.model_validate_json(
                http.post(found.device_authorization_endpoint, data=form).raise_for_status().content
            )
        except (httpx.HTTPError, httpx.InvalidURL, ValidationError) as error:
            raise UnavailableError(f"{issuer} does not offer to sign in by device code: {text_of(error)}") from error
        notify(asked.verification_uri_complete or asked.verification_uri, asked.user_code)
        return _await_token(http, found.token_endpoint, asked)


class _Issuer(BaseModel):
    device_authorization_endpoint: str
    token_endpoint: str


class _Asked(BaseModel):
    """RFC 8628, section 3.2; times in seconds."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None = None
    expires_in: float
    interval: float = 5


def _await_token(http: httpx.Client, endpoint: str, asked: _Asked) -> Token:
    pause, until = asked.interval, time.monotonic() + asked.expires_in
    form = {"grant_type": _DEVICE_GRANT, "device_code": asked.device_code, "client_id": CLIENT_ID}
    while time.monotonic() < until:
        time.sleep(pause)
        found = _polled(http, endpoint, form)
        if isinstance(found, Token):
            return found
        if found is None:
            pause = min(2 * pause, _LONGEST_PAUSE)
        elif found == "slow_down":
            pause += 5
    raise NotAuthenticatedError("not signed in: the code was not typed in time; run fedproc login --device again")


def _polled(http: httpx.Client, endpoint: str, form: dict[str, str]) -> Token | str | None:
    """The token, the issuer's word that there is none yet, or None where no issuer's answer came.

    Raises :class:`NotAuthenticatedError` if it is refused.
    """
    try:
        answer = http.post(endpoint, data=form)
        if answer.status_code == 200:
            return Token.model_validate_json(answer.content)
    except (httpx.RequestError, ValidationError):
        return None
    problem = problem_of(answer)
    error = problem.get("error")
    if error is None or answer.status_code in TRANSIENT:
        return None
    if error not in {"slow_down", "authorization_pending"}:
        raise NotAuthenticatedError(f"not signed in: {problem.get('error_description') or error}")
    return str(error)
