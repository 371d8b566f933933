"""The site's own way in: HTTP with JSON on a unix socket, for ``fedproc site …``. Needs no centre.

``GET /status``, ``GET /datasets``, ``GET /storage``, ``GET /releases``, ``POST /releases/{job}`` with
``{"decision": "release"|"refuse", "reason"}``, ``POST /stop``, ``POST /start``. Who may open the
socket (0600, the daemon's user) is the site's operator.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import h11

from fedproc.common.errors import FedprocError, InvalidInputError
from fedproc.common.sockets import unix_address

Answer = tuple[int, dict[str, Any]]
Handler = Callable[[re.Match[str], dict[str, Any]], Awaitable[Any]]
Route = tuple[str, re.Pattern[str], Handler]
_MAX_BODY = 1 << 16


class ControlSocket:
    """Serves ``routes`` on a unix socket."""

    def __init__(self, path: Path, routes: list[Route]) -> None:
        self._path = path
        self._routes = routes

    async def run(self) -> None:
        """Serve until cancelled."""
        self._path.unlink(missing_ok=True)
        with unix_address(self._path) as address:
            server = await asyncio.start_unix_server(self._serve, address)
        self._path.chmod(0o600)
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            request, body = await _read(connection, reader)
            status, answer = await self._answer(request, body)
            content = json.dumps(answer, default=str).encode()
            headers = [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(content))),
                ("Connection", "close"),
            ]
            writer.write(connection.send(h11.Response(status_code=status, headers=headers)) or b"")
            writer.write(connection.send(h11.Data(data=content)) or b"")
            await writer.drain()
        except (h11.ProtocolError, ConnectionError):
            pass  # whoever called does not speak HTTP or has gone: there is nobody to answer
        finally:
            writer.close()

    async def _answer(self, request: h11.Request, body: bytes) -> Answer:
        method, path = request.method.decode(), request.target.decode(errors="replace")
        try:
            for verb, pattern, handler in self._routes:
                if verb == method and (match := pattern.fullmatch(path)):
                    return 200, {"result": await handler(match, _json(body))}
        except FedprocError as error:
            return 409, {"detail": error.message}
        return 404, {"detail": f"{method} {path}: no such thing here"}


async def _read(connection: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request, bytes]:
    request, body = None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(1 << 16))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _MAX_BODY:
                raise h11.RemoteProtocolError("the body is too large")
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            return request, body
        else:
            raise h11.RemoteProtocolError("the connection ended")


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInputError("the body must be a JSON object")
    return value
