"""Connections to the reference Data API whose requests do not come."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress


class SilentConnections:
    """Connections whose next request has not come whole. Whoever sends slowly, or nothing, keeps nobody out."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._until: dict[socket.socket, float] = {}

    def add(self, channel: socket.socket) -> None:
        """From now on it has its seconds for a request."""
        with self._lock:
            self._until.pop(channel, None)
            self._until[channel] = time.monotonic() + self._seconds

    def remove(self, channel: socket.socket) -> None:
        """Its request has come, or it has ended."""
        with self._lock:
            self._until.pop(channel, None)

    def end_late(self) -> None:
        """Those whose seconds are over end."""
        now = time.monotonic()
        with self._lock:
            late = [channel for channel, until in self._until.items() if until <= now]
            for channel in late:
                self._end(channel)

    def end_oldest(self) -> None:
        """For another one, that which has waited longest ends."""
        with self._lock:
            if self._until:
                self._end(next(iter(self._until)))

    def _end(self, channel: socket.socket) -> None:
        del self._until[channel]
        with suppress(OSError):
            socket.socket.shutdown(channel, socket.SHUT_RDWR)  # of TLS, too: its thread reads the end, and closes
