"""The forms that a threshold of a profile can have, by the ``kind`` of its check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedproc.onboarding.model import formatting

CPU_KEYS = ("cores", "threads", "ghz")


def parse(kind: str, value: Any) -> Any:
    """The threshold as the rules take it. Raises :class:`ValueError` that says what would do."""
    return PARSERS[kind](value)


def in_order(kind: str, minimum: Any, recommended: Any) -> bool:
    """Whether ``recommended`` asks no less than ``minimum``, as far as the two can be compared."""
    if kind == "seconds":
        return bool(recommended <= minimum)
    if kind in ("number", "days"):
        return bool(recommended >= minimum)
    if kind == "version":
        return formatting.at_least(recommended, minimum) is True
    return True


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ValueError("write a number above 0")
    return value


def _days(value: Any) -> float:
    return 0 if value == 0 and not isinstance(value, bool) else _number(value)


def _version(value: Any) -> str:
    if not isinstance(value, str) or formatting.version(value) is None:
        raise ValueError('write a version in quotes, like "525.60.13"')
    return value


def _flag(value: Any) -> bool:
    if value is not True:
        raise ValueError("write true, or leave the requirement away")
    return True


def _names(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or any(not isinstance(v, str) or not v.strip() for v in value):
        raise ValueError('write a list of names, like ["docker", "podman"]')
    return value


def _cpu(value: Any) -> list[dict[str, float]]:
    example = "write a list of alternatives, like [{ cores = 4, threads = 8 }]; keys: " + ", ".join(CPU_KEYS)
    if not isinstance(value, list) or not value or any(not isinstance(v, dict) or not v for v in value):
        raise ValueError(example)
    if any(key not in CPU_KEYS for choice in value for key in choice):
        raise ValueError(example)
    return [{key: _number(number) for key, number in choice.items()} for choice in value]


PARSERS: dict[str, Callable[[Any], Any]] = {
    "number": _number,
    "seconds": _number,
    "days": _days,
    "version": _version,
    "flag": _flag,
    "names": _names,
    "cpu": _cpu,
}
