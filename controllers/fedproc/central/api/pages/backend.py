"""The API as who is signed in: a page asks the endpoints of this same application, within the process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fedproc.central.api.pages.formatting import in_pages
from fedproc.common.errors import FedprocError
from fedproc.common.http import problem_of

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
Query = Mapping[str, Any]


class ApiError(FedprocError):
    """The API refused; ``status`` is its answer's, ``errors`` has each fault of the input with its place."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or f"HTTP {status}"), code=str(problem.get("code") or "error"))
        self.status = status
        self.errors: list[dict[str, Any]] = list(problem.get("errors") or [])

    @property
    def shown(self) -> str:
        """To who looks at a page: without commands, and without the shapes of requests."""
        of_body = [error for error in self.errors if str(error.get("where", "")).startswith("body.")]
        entries = [f"{error['where'].removeprefix('body.')}: {error.get('what', '')}" for error in of_body]
        return in_pages("; ".join(entries) or self.message)


class Backend:
    """Asks as the holder of ``token``. Everything it raises is :class:`ApiError`."""

    def __init__(self, app: FastAPI, token: str, renew: Callable[[], Awaitable[str]] | None = None) -> None:
        """``renew`` gives another token, once, where the API does not take this one any more."""
        self._app = app
        self._token = token
        self._renew = renew

    async def one(self, model: type[M], path: str, **query: Any) -> M:
        return _read(TypeAdapter(model), await self.send("GET", path, query=query))

    async def many(self, model: type[M], path: str, **query: Any) -> list[M]:
        return _read(TypeAdapter(list[model]), await self.send("GET", path, query=query))  # type: ignore[valid-type]

    async def counted(self, model: type[M], path: str, **query: Any) -> tuple[list[M], int]:
        """A page of a list, and how many there are on all of them."""
        answer = await self.send("GET", path, query={**query, "count": True})
        found: list[M] = _read(TypeAdapter(list[model]), answer)  # type: ignore[valid-type]
        return found, int(answer.headers["Total-Count"])

    async def count(self, path: str, **query: Any) -> int:
        """How many there are in a list."""
        answer = await self.send("GET", path, query={**query, "count": True, "limit": 1})
        return int(answer.headers["Total-Count"])

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content: AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: frozenset[int] = frozenset(),
    ) -> httpx.Response:
        """Raises for every status from 400 on, but for those in ``accept``."""
        given = {name: value for name, value in (query or {}).items() if value not in (None, "", [], ())}
        asked = _client(self._app).build_request(
            method, path, params=given, json=body, content=content, headers=headers
        )
        answer = await self._sent(asked)
        if answer.status_code == 401 and self._renew is not None and content is None:
            renew, self._renew = self._renew, None
            self._token = await renew()
            answer = await self._sent(asked)
        if answer.status_code >= 400 and answer.status_code not in accept:
            raise ApiError(answer.status_code, problem_of(answer))
        return answer

    async def _sent(self, asked: httpx.Request) -> httpx.Response:
        asked.headers["Authorization"] = f"Bearer {self._token}"
        return await _client(self._app).send(asked)

    def passed_on(self, path: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> Response:
        """The API's answer as it comes, for bytes that are not to be held in memory."""
        return _PassedOn(self._app, path, [*headers, (b"authorization", f"Bearer {self._token}".encode())])


def _read(adapter: TypeAdapter[T], answer: httpx.Response) -> T:
    """An id such as ``.`` may lead to another endpoint than it was made for."""
    try:
        return adapter.validate_json(answer.content)
    except ValidationError as error:
        raise ApiError(404, {"detail": "there is nothing of this name; check the address"}) from error


def _client(app: FastAPI) -> httpx.AsyncClient:
    if not hasattr(app.state, "backend"):
        transport = httpx.ASGITransport(app=app)
        app.state.backend = httpx.AsyncClient(transport=transport, base_url="http://api", trust_env=False)
    client: httpx.AsyncClient = app.state.backend
    return client


class _PassedOn(Response):
    def __init__(self, app: FastAPI, path: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._inner_app, self._path, self._asked_headers = app, path, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept = {name: scope[name] for name in ("type", "asgi", "http_version", "scheme", "client", "server")}
        asked = {"method": "GET", "path": self._path, "raw_path": self._path.encode(), "query_string": b""}
        await self._inner_app({**kept, **asked, "root_path": "", "headers": self._asked_headers}, receive, send)
