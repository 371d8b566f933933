"""Waiting for a program to be there, and free ports for it."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

from fedproc.common.errors import InvalidInputError, UnavailableError

START_VARIABLE = "DEMO_START_SECONDS"
_SAID_AFTER, _SAID_EVERY = 30.0, 60.0
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


def wait_for_start(happened: Callable[[], bool], what: str, say: Callable[[str], None] = lambda _: None) -> None:
    """The same for a program that starts, as long as ``DEMO_START_SECONDS`` says; ``what`` is not so yet.

    Half a minute, and each minute later, ``say`` is told what is waited for: of a machine with much else to do it takes
    minutes. Raises :class:`UnavailableError`, which says how busy the machine is.
    """
    seconds, begun = start_seconds(), time.monotonic()
    due = begun + _SAID_AFTER

    def looked() -> bool:
        nonlocal due
        if time.monotonic() >= due:
            due += _SAID_EVERY
            say(f"still waiting, for at most {seconds - (time.monotonic() - begun):.0f} s more: {what} ({_busy()})")
        return happened()

    wait_until(looked, seconds, f"{what}; {_busy()}; {START_VARIABLE}={2 * seconds:.0f} waits longer")


def start_seconds() -> float:
    """Raises :class:`InvalidInputError` where the environment says no number."""
    named = os.environ.get(START_VARIABLE) or "240"
    if not named.isdecimal() or int(named) == 0:
        raise InvalidInputError(f"{START_VARIABLE} is a number of seconds, such as 600, not {named!r}")
    return float(named)


def _busy() -> str:
    return f"load {os.getloadavg()[0]:.0f} on {len(os.sched_getaffinity(0))} CPUs"


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
