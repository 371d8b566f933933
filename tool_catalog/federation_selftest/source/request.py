"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from averaging.faults import Fault

FAULTS = ("none", "exit", "hang", "nonsense", "other_shape", "other_name")


@dataclass(frozen=True)
class Request:
    """What goes wrong (``fault``), at which ``host``, in which ``round``, and how long it is waited for, in seconds."""

    fault: str = "none"
    host: str = ""
    round: int = 1
    rounds: int = 3
    join_seconds: int = 120
    round_seconds: int = 20


BOUNDS = {"round": (1, 100), "rounds": (1, 100), "join_seconds": (1, 3600), "round_seconds": (1, 3600)}


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises :class:`Fault` naming the parameter that is wrong."""
    given = read_object(path, "parameters")
    known = {field.name for field in fields(Request)}
    if unknown := sorted(given.keys() - known):
        raise Fault(f"parameters: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    for name, (low, high) in BOUNDS.items():
        value = given.get(name, low)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Fault(f"parameters: {name}: must be a whole number from {low} to {high}")
    request = Request(**given)
    if request.fault not in FAULTS:
        raise Fault(f"parameters: fault: must be one of {', '.join(FAULTS)}")
    if (request.fault == "none") != (request.host == ""):
        raise Fault("parameters: host: a fault needs the host that has it, and no fault has none")
    return request


def expected_hosts(path: Path, request: Request) -> list[str]:
    """The hosts of the training. Raises :class:`Fault` if the one with the fault is not among them."""
    hosts = read_object(path, "hosts").get("client")
    if not isinstance(hosts, list) or not hosts or not all(isinstance(host, str) for host in hosts):
        raise Fault("hosts: no hosts are listed for the task 'client'")
    if request.host and request.host not in hosts:
        raise Fault(f"parameters: host: {request.host} is none of the experiment's hosts, {', '.join(sorted(hosts))}")
    return sorted(hosts)


def read_object(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in ``path``; ``what`` names the file in messages. Raises :class:`Fault`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise Fault(f"{what}: {path.name} cannot be read as JSON") from fault
    if not isinstance(found, dict):
        raise Fault(f"{what}: must be a JSON object")
    return found
