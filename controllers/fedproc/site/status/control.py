"""The site's own way in: HTTP with JSON on a unix socket, for ``fedproc site …``. Needs no centre.

``GET /status``, ``GET /datasets``, ``GET /storage``, ``POST /stop``, ``POST /start``, and the releases of
:mod:`fedproc.site.status.releases`. Who may open the socket (0600, the daemon's user) is the site's operator. A second
socket, which the group of the site's reviewers may open, serves the releases alone.
"""

from __future__ import annotations

import asyncio
import grp
import json
import os
import pwd
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11

from fedproc.common.errors import FedprocError, InvalidInputError
from fedproc.common.sockets import unix_address


@dataclass(frozen=True)
class Caller:
    """Who asks, as the kernel says it (SO_PEERCRED)."""

    uid: int

    @property
    def account(self) -> str:
        """The local account's name; blocks where names come by the network."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    def is_of(self, group: str | None) -> bool:
        """Whether the account is of a local group; blocks as :attr:`account` does."""
        try:
            found, own = grp.getgrnam(group or ""), pwd.getpwuid(self.uid)
        except KeyError:
            return False
        return own.pw_gid == found.gr_gid or own.pw_name in found.gr_mem


Answer = tuple[int, dict[str, Any]]
Handler = Callable[[re.Match[str], dict[str, Any], Caller], Awaitable[Any]]
Route = tuple[str, re.Pattern[str], Handler]
_MAX_BODY = 4 << 20
"""of a decision about ten thousand files with long names"""


class ControlSocket:
    """Serves ``routes`` on a unix socket, which ``group`` may open, too, if there is one."""

    def __init__(self, path: Path, routes: list[Route], group: str | None = None) -> None:
        self._path = path
        self._routes = routes
        self._group = group

    async def run(self) -> None:
        """Serve until cancelled. Raises :class:`InvalidInputError` if the socket cannot be the group's."""
        self._path.unlink(missing_ok=True)
        with unix_address(self._path) as address:
            server = await asyncio.start_unix_server(self._serve, address)
        self._path.chmod(0o600)
        if self._group is not None:
            await asyncio.to_thread(self._open_to, self._group)
        async with server:
            await server.serve_forever()

    def _open_to(self, group: str) -> None:
        try:
            os.chown(self._path, -1, grp.getgrnam(group).gr_gid)
            self._path.chmod(0o660)
        except (KeyError, OSError) as error:
            text = f"reviewers_group {group!r}: {error}; is there such a group, and is the orchestrator's user of it?"
            raise InvalidInputError(text) from error

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            request, body = await _read(connection, reader)
            status, answer = await self._answer(request, body, _caller(writer))
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

    async def _answer(self, request: h11.Request, body: bytes, caller: Caller) -> Answer:
        method, path = request.method.decode(), request.target.decode(errors="replace")
        try:
            for verb, pattern, handler in self._routes:
                if verb == method and (match := pattern.fullmatch(path)):
                    return 200, {"result": await handler(match, _json(body), caller)}
        except FedprocError as error:
            return 409, {"detail": error.message}
        return 404, {"detail": f"{method} {path}: no such thing here"}


def _caller(writer: asyncio.StreamWriter) -> Caller:
    channel = writer.get_extra_info("socket")
    size = struct.calcsize("3i")
    return Caller(struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[1])


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
