"""JSON files, read with messages a person understands and written so that equal content is equal bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .faults import Fault

LARGEST = 64 * 1024 * 1024
"""bytes; no file of these tools comes near"""


def read_object(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in ``path``; ``what`` names the file in messages.

    Raises :class:`Fault` if it is absent, too large, no strict JSON (a key twice, NaN), or another kind of value.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise Fault(f"{what}: {path.name} is larger than {LARGEST} bytes")
        return strict_object(path.read_bytes(), f"{what}: {path.name}")
    except OSError as fault:
        raise Fault(f"{what}: cannot read {path.name}: {fault.strerror}") from fault


def strict_object(content: bytes, what: str) -> dict[str, Any]:
    """The JSON object that ``content`` is. Raises :class:`Fault`."""
    try:
        value = json.loads(content, parse_constant=_no_constant, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as fault:
        raise Fault(f"{what} is not strict JSON") from fault
    if not isinstance(value, dict):
        raise Fault(f"{what} must hold a JSON object")
    return value


def write_object(path: Path, value: dict[str, Any]) -> None:
    """Write ``value``; NaN and infinity are refused, since JSON knows neither."""
    path.write_text(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def expected_hosts(path: Path, task: str) -> list[str]:
    """The hosts that run ``task`` in this experiment, from the file of hosts by task. Raises :class:`Fault`."""
    hosts = read_object(path, "hosts").get(task)
    if not isinstance(hosts, list) or not hosts or not all(isinstance(host, str) for host in hosts):
        raise Fault(f"hosts: no hosts are listed for the task {task!r}")
    return sorted(hosts)


def hosts_with_answers(sites: Path, hosts: Path) -> list[str]:
    """The hosts of the task ``local``, each of which has its folder in ``sites``, and nobody else. Raises Fault."""
    expected = expected_hosts(hosts, "local")
    found = {path.name for path in sites.iterdir()} if sites.is_dir() else set()
    if found != set(expected):
        missing, unknown = sorted(set(expected) - found), sorted(found - set(expected))
        raise Fault(f"answers do not match the hosts: missing {missing}, not expected {unknown}")
    return expected


def check_known(given: dict[str, Any], known: Iterable[str]) -> None:
    """Raise :class:`Fault` for parameters of other names."""
    if unknown := sorted(given.keys() - set(known)):
        raise Fault(f"parameters: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")


def whole(given: dict[str, Any], name: str, usual: int, low: int, high: int) -> int:
    """A parameter that is a whole number from ``low`` to ``high``. Raises :class:`Fault`."""
    value = given.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Fault(f"parameters: {name}: must be a whole number from {low} to {high}")
    return value


def text(given: dict[str, Any], name: str, usual: str | None = None, longest: int = 200) -> str:
    """A parameter that is a text; required unless there is a usual one. Raises :class:`Fault`."""
    value = given.get(name, usual)
    if not isinstance(value, str) or len(value) > longest or (usual is None and not value.strip()):
        raise Fault(f"parameters: {name}: must be a text of at most {longest} characters")
    return value


def choice(given: dict[str, Any], name: str, known: tuple[str, ...]) -> str:
    """A parameter that is one of several texts, the first unless given. Raises :class:`Fault`."""
    value = given.get(name, known[0])
    if value not in known:
        raise Fault(f"parameters: {name}: must be {' or '.join(known)}")
    return str(value)


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found
