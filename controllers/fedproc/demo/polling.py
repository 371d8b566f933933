"""Waiting for a program to be there, and free ports for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from fedproc.common.errors import UnavailableError


def wait_until(happened: Callable[[], bool], seconds: float, otherwise: str, *, pause: float = 0.05) -> None:
    """Return when ``happened()``, asked every ``pause`` seconds.

    Raises :class:`UnavailableError` with ``otherwise`` after ``seconds``.
    """
    until = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > until:
            raise UnavailableError(f"{otherwise} (waited {seconds:.0f} s)")
        time.sleep(pause)


def free_ports(count: int) -> list[int]:
    """That many different ports of the loopback interface on which nothing listens now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
