"""Waiting for a program to be there, and free ports for it."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

from fedproc.common.errors import UnavailableError

_LOWEST_PORT, _LAST_PORT, _ENOUGH = 15_000, 32_768, 1_000
"""the last is where the kernel's own range begins, unless it is told otherwise"""


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
    """That many different ports of the loopback interface on which nothing listens now.

    None that the kernel gives to outgoing connections: one of those could have it before the program that is to listen.
    """
    found: list[int] = []
    candidates = list(range(_LOWEST_PORT, _first_outgoing_port()))
    random.shuffle(candidates)
    while len(found) < count:
        port = candidates.pop()
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            found.append(port)
    return found


def _first_outgoing_port() -> int:
    with contextlib.suppress(OSError):
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        return first if first >= _LOWEST_PORT + _ENOUGH else _LAST_PORT
    return _LAST_PORT
