"""A time limit for what a server lets wait: httpx's own starts again with each byte that comes.

A server that sends a byte of its head now and then, or of the frame around a chunk, would hold a thread for days.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

_CONNECTED = ("connect_tcp.complete", "connect_unix_socket.complete", "start_tls.complete")
_HEAD = "receive_response_headers"
_LOOK_SECONDS = 1.0


class AnswerWatch:
    """Cuts the connection where an answer's head, or what :meth:`waiting` waits for, takes ``seconds``.

    For a ``with``, and for requests without asyncio, one at a time: each has :attr:`extensions`. What was cut fails, or
    ends, as if the server had gone; ``was_late`` says so of the last wait.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.extensions = {"trace": self._trace}
        self.was_late = False
        self._lock = threading.Lock()
        self._until: float | None = None
        self._stream: Any = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> AnswerWatch:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._closed.set()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What is waited for within comes in time, or the connection is cut."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        """See httpx, "trace": which connection it is, and when a wait begins and ends."""
        name = event.partition(".")[2]
        if name in _CONNECTED:
            self._stream = info["return_value"]
        if name == f"{_HEAD}.started":
            self._begin()
        elif name in (f"{_HEAD}.complete", f"{_HEAD}.failed"):
            self._end()

    def _begin(self) -> None:
        with self._lock:
            self._until, self.was_late = time.monotonic() + self._seconds, False
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="answers", daemon=True)
            self._thread.start()

    def _end(self) -> None:
        with self._lock:
            self._until = None

    def _watch(self) -> None:
        while not self._closed.wait(min(_LOOK_SECONDS, self._seconds / 4)):
            with self._lock:
                if self._until is not None and time.monotonic() >= self._until:
                    self._until, self.was_late = None, True
                    self._cut()

    def _cut(self) -> None:
        channel = None if self._stream is None else self._stream.get_extra_info("socket")
        if channel is not None:
            with suppress(OSError):
                socket.socket.shutdown(channel, socket.SHUT_RDWR)  # of TLS, too: who reads from it reads its end
