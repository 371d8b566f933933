"""JSON files, read with messages a person understands and written so that equal content is equal bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from faults import Fault

LARGEST = 64 * 1024 * 1024
"""bytes; no file of this tool comes near"""


def read_object(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in ``path``; ``what`` names the file in messages.

    Raises :class:`Fault` if it is absent, too large, no JSON, or another kind of value.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise Fault(f"{what}: {path.name} is larger than {LARGEST} bytes")
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as fault:
        raise Fault(f"{what}: cannot read {path.name}: {fault.strerror}") from fault
    except (ValueError, RecursionError) as fault:
        raise Fault(f"{what}: {path.name} is not JSON") from fault
    if not isinstance(value, dict):
        raise Fault(f"{what}: {path.name} must hold a JSON object")
    return value


def write_object(path: Path, value: dict[str, Any]) -> None:
    """Write ``value``; NaN and infinity are refused, since JSON knows neither."""
    path.write_text(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def _no_constant(name: str) -> float:
    raise ValueError(name)
