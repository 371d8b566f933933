"""``fedproc data-api``: serves a site's folders until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

from fedproc.common.errors import InvalidInputError
from fedproc.common.log import get_logger, log_json
from fedproc.common.tls import show
from fedproc.site.data.remote.http import secret_in
from fedproc.site.data_api import settings
from fedproc.site.data_api.server import DataServer
from fedproc.site.data_api.service import DataService
from fedproc.site.data_api.settings import DataApiSettings
from fedproc.site.data_api.tokens import Tokens

log = get_logger(__name__)
_LOOK_SECONDS = 10.0
_FORGET_LOOKS = 360
"""after so many looks, old cohorts are forgotten"""
_BACKLOG = 128


def serve(path: Path) -> None:
    """Run what the settings file describes. Raises :class:`InvalidInputError` before it listens."""
    loaded = settings.load(path)
    log_json(loaded.log_level, program="data-api")
    asyncio.run(_serve(loaded))


async def _serve(loaded: DataApiSettings) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    service = DataService(loaded)
    server = make_server(loaded, service)
    thread = threading.Thread(target=server.serve_forever, name="data-api", daemon=True)
    thread.start()
    log.info("data_api.started", datasets=len(loaded.datasets), socket=str(loaded.socket), port=loaded.listen_port)
    looks = 0
    while not ended.is_set():
        await service.listed(problems=False)  # has them looked at, if it is time
        if looks % _FORGET_LOOKS == 0:
            await asyncio.to_thread(service.forget_old)
        looks += 1
        try:
            await asyncio.wait_for(ended.wait(), _LOOK_SECONDS)
        except TimeoutError:
            continue
    await asyncio.to_thread(server.shutdown)
    log.info("data_api.ended")


def make_server(loaded: DataApiSettings, service: DataService) -> DataServer:
    """One that listens, for the running loop. Raises :class:`InvalidInputError`."""
    loaded.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        channel = _listening(loaded.socket, loaded.listen_host, loaded.listen_port)
    except OSError as error:
        place = loaded.socket or f"{loaded.listen_host} port {loaded.listen_port}"
        raise InvalidInputError(f"it cannot listen at {place}: {error.strerror}; choose another place") from error
    secret = secret_in(loaded.secret_file) if loaded.secret_file else None
    tokens = Tokens(loaded.tokens) if loaded.tokens else None
    return DataServer(channel, service, asyncio.get_running_loop(), secret, tokens, _tls(loaded))


def _tls(loaded: DataApiSettings) -> ssl.SSLContext | None:
    if loaded.certificate is None or loaded.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    show(context, loaded.certificate, loaded.key)
    return context


def _listening(path: Path | None, host: str, port: int | None) -> socket.socket:
    if path is None:
        return socket.create_server((host, port or 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    with suppress(FileNotFoundError):
        path.unlink()
    channel = socket.socket(socket.AF_UNIX)
    channel.bind(str(path))
    path.chmod(0o660)
    channel.listen(_BACKLOG)
    return channel
