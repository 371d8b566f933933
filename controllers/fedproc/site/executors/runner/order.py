"""What the runner is asked to start."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import Any

PROGRAMS = ("", "apptainer")
JOB_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class OrderError(ValueError):
    """An order that cannot be carried out as it is written."""


@dataclass(frozen=True)
class Order:
    """One job, as :func:`fedproc.site.executors.sandbox.request_of` writes it. Sizes are in bytes."""

    job: str
    command: list[str]
    environment: dict[str, str]
    mounts: list[list[str]]
    """source on the host and target inside; read-only"""
    writable: list[list[str]]
    """as ``mounts``, but the job owns them and may write, ``disk`` bytes in all"""
    directory: str
    """where inside the command starts"""
    hosts: list[list[str]]
    """address and name, for the hosts file"""
    devices: list[str]
    """device nodes that the job may use beyond the minimal ones"""
    cpus: float
    memory: int
    disk: int
    pids: int
    log: int
    signal: str
    grace: float
    root: str = ""
    """the folder of the host that is the job's root; empty: the host's own system"""
    by: str = ""
    """what runs it: ``apptainer``; empty: bubblewrap"""


def order_of(values: dict[str, Any]) -> Order:
    """Check and take over what came over the socket. Raises :class:`OrderError`, TypeError or ValueError."""
    order = Order(**values)
    if not JOB_NAME.fullmatch(order.job):
        raise OrderError(f"{order.job!r} is no job name")
    if "\0" in "".join(_texts(values)):
        raise OrderError("a text holds a NUL, which no argument or path may")
    if not order.command:
        raise OrderError("the command is empty")
    if order.by not in PROGRAMS:
        raise OrderError(f"{order.by!r} is nothing that this runner starts jobs by")
    signal.Signals[order.signal]
    return order


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return []
