"""The wire to the central API: signing in, requests, and what a refusal says."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from fedproc.common.errors import FedprocError, InvalidInputError, NotAuthenticatedError, UnavailableError
from fedproc.common.http import problem_of
from fedproc.common.tls import client_context
from fedproc.contract.api.base import Token

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
_EARLY = 20.0
"""seconds before its end that a token is renewed"""


class ApiError(FedprocError):
    """The API refused; ``status`` and ``detail`` hold its problem details (RFC 9457)."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(_text(problem) or f"HTTP {status}")
        self.status = status
        self.code = str(problem.get("code") or "error")
        self.problem = problem


def _text(problem: Mapping[str, Any]) -> str:
    """What a person reads of a problem: a line for each fault, where there are several with their cures."""
    errors = problem.get("errors")
    if isinstance(errors, list) and len(errors) > 1 and all(isinstance(e, dict) and "cure" in e for e in errors):
        return "\n".join(f"{e.get('where')}: {e.get('what')} ({e['cure']})" for e in errors)
    return str(problem.get("detail") or problem.get("title") or "")


def trusted(ca_file: str | None) -> ssl.SSLContext:
    """A context that trusts the CA in ``ca_file``, or the system's.

    Raises :class:`InvalidInputError` naming the file.
    """
    try:
        return client_context(Path(ca_file) if ca_file else None)
    except InvalidInputError as error:
        raise InvalidInputError(f"{error.message} (FEDPROC_CA, or --ca at login, says which file it is)") from error


def at(*segments: str) -> str:
    """The path of these segments: each stays one, whatever characters it has.

    Raises :class:`InvalidInputError` for one that would lead elsewhere.
    """
    for segment in segments:
        if segment in {"", ".", ".."}:
            raise InvalidInputError(f"{segment!r} names nothing: give an id or a name")
    try:
        return "".join(f"/{quote(segment, safe='')}" for segment in segments)
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"{'/'.join(segments)!r} is no UTF-8: give it another name") from error


def parsed(kind: type[T], answer: httpx.Response) -> T:
    """What a good answer says. Raises :class:`UnavailableError` where it is none of the API's."""
    try:
        return TypeAdapter(kind).validate_json(answer.content)
    except ValidationError as error:
        raise not_ours(answer, str(error.errors(include_url=False, include_input=False)[0]["msg"])) from error


def not_ours(answer: httpx.Response, why: str) -> UnavailableError:
    """Something else than the API answered, such as the page of a proxy."""
    kind = str(answer.headers.get("content-type", "")).partition(";")[0] or "nothing"
    request = answer.request
    return UnavailableError(
        f"{request.method} {request.url.copy_with(query=None)} was answered by {kind} (HTTP {answer.status_code}) that"
        f" is no answer of the API: {why}. Is the address right (FEDPROC_URL), or does a proxy stand in between?"
    )


class Transport:
    """Signs in with a password if it has one (POST /token), or uses the token that it is given."""

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: Token | None = None,
        ca_file: str | None = None,
        timeout: float = 30,
    ) -> None:
        self.url = url.rstrip("/")
        self._credentials = (username, password)
        self._http = httpx.Client(verify=trusted(ca_file), timeout=timeout)
        self._expires = 0.0
        self.token = token
        if token is not None:
            self._expires = time.monotonic() + token.expires_in

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    # -- signing in ------------------------------------------------------------------------------

    def sign_in(self) -> Token:
        """Get a token by the refresh token of the one at hand, or by password.

        Raises :class:`NotAuthenticatedError`.
        """
        forms = self._ways_in()
        if not forms:
            raise NotAuthenticatedError(
                "not signed in: run `fedproc login`, or set FEDPROC_USERNAME and FEDPROC_PASSWORD"
            )
        for form in forms:
            answer = self._raw("POST", "/token", data=form)
            if answer.status_code == 200:
                self.token = parsed(Token, answer)
                self._expires = time.monotonic() + self.token.expires_in
                return self.token
        problem = problem_of(answer)
        raise NotAuthenticatedError(
            f"not signed in: {problem.get('error_description') or problem.get('detail') or problem.get('error')}"
        )

    def _ways_in(self) -> list[dict[str, str]]:
        username, password = self._credentials
        forms = []
        if self.token and self.token.refresh_token:
            forms.append({"grant_type": "refresh_token", "refresh_token": self.token.refresh_token})
        if username and password:
            forms.append({"grant_type": "password", "username": username, "password": password})
        return forms

    def access_token(self, *, fresh: bool = False) -> str:
        """A token that is good for a while."""
        if fresh or self.token is None or time.monotonic() > self._expires - _EARLY:
            self.sign_in()
        assert self.token is not None
        return self.token.access_token

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token()}"}

    # -- the wire --------------------------------------------------------------------------------

    def _one(self, model: type[M], method: str, path: str, **arguments: Any) -> M:
        return parsed(model, self._send(method, path, **arguments))

    def _list(self, model: type[M], path: str, **arguments: Any) -> list[M]:
        return parsed(list[model], self._send("GET", path, **arguments))  # type: ignore[valid-type]

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {**arguments.pop("headers", {}), **self._authorization()}
        answer = self._raw(method, path, headers=headers, **arguments)
        if answer.status_code >= 400:
            raise ApiError(answer.status_code, problem_of(answer))
        return answer

    def _raw(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return self._http.request(method, self._absolute(path), **arguments)
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise UnavailableError(
                f"{self.url} does not answer ({error}): is the address right (FEDPROC_URL), is the API running?"
            ) from error

    def _absolute(self, path: str) -> str:
        return path if path.startswith("http") else self.url + path
