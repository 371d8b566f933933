"""``NAME=VALUE`` arguments of ``fedproc run``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fedproc.common.errors import InvalidInputError


def parameters(file: Path | None, given: Iterable[str]) -> dict[str, Any]:
    """Parameters from a JSON file, then those ``given`` as ``NAME=VALUE`` (JSON; a text where it is no JSON)."""
    return _object(file) | dict(map(_pair, given))


def host_parameters(given: Iterable[str]) -> dict[str, dict[str, Any]]:
    """From ``HOST.NAME=VALUE``."""
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        host, dot, rest = text.partition(".")
        if not dot or "=" in host:
            raise InvalidInputError(f"{text!r}: give it as HOST.NAME=VALUE, for example UB.threshold=3")
        name, value = _pair(rest)
        found.setdefault(host, {})[name] = value
    return found


def files(given: Iterable[str]) -> dict[str, Path]:
    """From ``NAME=FILE``; raises :class:`InvalidInputError` for a file that is not there."""
    found = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or not Path(path).is_file():
            raise InvalidInputError(f"{text!r}: give it as NAME=FILE, with a file that is there")
        found[name] = Path(path)
    return found


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidInputError(f"{text!r}: give it as NAME=VALUE, for example rounds=10")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _object(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"parameters {file}: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInputError(f"parameters {file}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"parameters {file}: must be a JSON object")
    return value
