"""A container engine that speaks Docker's API, on a unix socket: calls, one event stream, and attached output."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import docker
import docker.errors
import requests
import urllib3.exceptions

from fedproc.common.log import get_logger
from fedproc.common.text import of_bytes
from fedproc.site.executors.base import ExecutorError
from fedproc.site.executors.docker.dialect import EngineNature, nature_of, speaks_podman
from fedproc.site.executors.docker.output import unchunked

log = get_logger(__name__)
PATIENCE = 15.0
"""seconds that an engine which does not answer is waited for"""
_CALL_SECONDS = 600
_AT_A_TIME = 16
_PAUSE = 0.5
_WORDS, _WORDS_SECONDS = 1000, 3.0
"""bytes of what an engine says to a refusal, and how long it has to say them"""
_LIBPOD_INFO = "/v4.0.0/libpod/info"
_FAULTS = (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError)


class Event(NamedTuple):
    """What became of a container; one of the same name that came after it has another ``id``."""

    name: str
    id: str
    action: str
    attributes: dict[str, str]


OnEvent = Callable[[Event], None]
OnMissed = Callable[[datetime], None]


class EngineRefusedError(ExecutorError):
    """The engine said no; ``status`` is HTTP's."""

    def __init__(self, error: docker.errors.APIError) -> None:
        super().__init__(f"the container engine: {error.explanation or error}", code="system_fault.engine")
        self.status = error.status_code


class Engine:
    """One engine, for containers that carry ``label``.

    ``on_missed`` is called with the moment since when events may have been lost.
    """

    def __init__(self, url: str, label: str, on_event: OnEvent, on_missed: OnMissed) -> None:
        self._url = url
        self._filters: dict[str, Any] = {"type": "container", "label": label}
        self._on_event = on_event
        self._on_missed = on_missed
        self._client: docker.APIClient | None = None
        self._nature = EngineNature()
        self._events: Any = None
        self.losses = 0
        """how often its events ended, as an engine's do that ends"""
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(_AT_A_TIME, "engine")
        self._one_thread = ThreadPoolExecutor(1, "engine creation")
        self._lock = asyncio.Lock()

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of :class:`docker.APIClient`, once the events are listened to.

        Raises :class:`EngineRefusedError`, or :class:`ExecutorError` if there is no engine for :data:`PATIENCE`
        seconds.
        """
        await self._connect()
        return await self._patiently(partial(getattr(self._client, method), *arguments, **options))

    async def create(self, creation: dict[str, Any], name: str) -> str:
        """Create a container, by Podman one after another. Returns its id.

        For each, Podman looks up its user's subordinate ids in libsubid, which bears no two calls at once: it finds
        none, or ends Podman by SIGSEGV. Raises as :meth:`call`.
        """
        await self._connect()
        assert self._client is not None
        ask = partial(self._client.create_container_from_config, creation, name)
        made = await self._patiently(ask, self._one_thread if self._nature.podman else self._threads)
        return str(made["Id"])

    async def nature(self) -> EngineNature:
        """What it said of itself when it was first reached. Raises as :meth:`call`."""
        await self._connect()
        return self._nature

    async def attach(
        self, container: str, *, begun: bool, running: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The output of a container from its beginning on, as far as the engine has it: frames of Docker's format.

        ``begun`` says whether there may be some already: the engine reads its log after it has begun to listen, so what
        came between the two comes twice. Without ``running`` it is what there is now; the stream of one that has ended
        would never end.
        """
        assert self._client is not None
        head, place = "POST", f"attach?logs={int(begun)}&stream={int(running)}&stdout=1&stderr=1"
        if begun and self._nature.podman:  # Podman 4.3 frames what it attaches to of its log wrongly
            head, place = "GET", f"logs?follow={int(running)}&stdout=1&stderr=1"
        upgrade = ("Connection: Upgrade", "Upgrade: tcp", "Content-Length: 0") if head == "POST" else ()
        path = f"/v{self._client.api_version}/containers/{container}/{place}"
        lines = (f"{head} {path} HTTP/1.1", "Host: engine", *upgrade)
        try:
            reader, writer = await asyncio.open_unix_connection(self._url.removeprefix("unix://"))
            writer.write("\r\n".join((*lines, "", "")).encode())
            answer = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError) as error:
            raise ExecutorError(f"the container engine gives no output of {container}: {error}") from error
        if answer.split()[1] not in (b"101", b"200"):
            why = await _words_of(answer, reader)
            writer.close()
            raise ExecutorError(f"the container engine gives no output of {container}: {why}")
        return (unchunked(reader) if b"chunked" in answer else reader), writer

    def close(self) -> None:
        """Disconnect from the engine; containers go on."""
        self._closed.set()
        if self._events is not None:
            self._events.close()
        self._threads.shutdown(wait=False)
        self._one_thread.shutdown(wait=False)
        if self._client is not None:
            self._client.close()

    # -- the connection --------------------------------------------------------------------------

    async def _connect(self) -> None:
        """Connect, once: whole or not at all, for who asks first may be given up while the engine is slow to answer."""
        async with self._lock:
            if self._client is not None:
                return
            client = await self._patiently(
                lambda: docker.APIClient(self._url, version="auto", timeout=_CALL_SECONDS, max_pool_size=_AT_A_TIME)
            )
            try:
                nature = await self._patiently(lambda: _nature(client))
                if not nature.podman:  # Podman 4.3 lets no event through where they are named
                    self._filters["event"] = ["die", "kill", "oom"]
                self._events = await self._patiently(lambda: self._listen(client))
            except BaseException:
                client.close()
                raise
            self._client, self._nature = client, nature
            arguments = (client, asyncio.get_running_loop())
            threading.Thread(target=self._follow, args=arguments, daemon=True, name="engine events").start()

    async def _patiently(self, ask: Callable[[], Any], threads: ThreadPoolExecutor | None = None) -> Any:
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        while True:
            try:
                return await loop.run_in_executor(threads or self._threads, ask)
            except docker.errors.APIError as error:
                raise EngineRefusedError(error) from error
            except _FAULTS as error:
                if loop.time() > until:
                    raise ExecutorError(
                        f"the container engine does not answer at {self._url}: start it, or name its socket in the "
                        "settings (docker.socket)",
                        code="system_fault.engine",
                    ) from error
            await asyncio.sleep(_PAUSE)

    def _listen(self, client: docker.APIClient) -> Any:
        return client.events(decode=True, filters=self._filters)

    def _follow(self, client: docker.APIClient, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread of its own: pass events on, and listen again when the engine was lost."""
        notify, lost = loop.call_soon_threadsafe, None
        while not self._closed.is_set():
            try:
                for event in self._events:
                    attributes = event["Actor"]["Attributes"]
                    seen = Event(attributes["name"], event["Actor"]["ID"], event["Action"], attributes)
                    notify(self._on_event, seen)
            except (*_FAULTS, OSError, ValueError) as error:
                log.warning("engine.events_lost", reason=str(error))
            except RuntimeError:
                return  # the loop has ended, and this program with it
            self.losses += 1
            lost = lost or datetime.now(UTC)
            if self._closed.wait(_PAUSE):
                return
            with contextlib.suppress(*_FAULTS):
                self._events = self._listen(client)
                notify(self._on_missed, lost)
                lost = None


def _nature(client: docker.APIClient) -> EngineNature:
    version = client.version()
    if not speaks_podman(version):
        return nature_of(version, client.info())
    answer = client.get(f"{client.base_url}{_LIBPOD_INFO}")
    answer.raise_for_status()
    return nature_of(version, answer.json())


async def _words_of(head: bytes, reader: asyncio.StreamReader) -> str:
    """The status of a refusal, and what the engine says in its body: why the one who looks after it has to look."""
    body = b""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(_WORDS_SECONDS):
            body = await reader.read(_WORDS)
    return " ".join(of_bytes(head.splitlines()[0] + b" " + body).split())
