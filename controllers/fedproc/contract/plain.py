"""JSON values that every database, language and reader of ours takes the same way."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator

MAX_DEPTH = 32


def plain_json(value: Any, depth: int = MAX_DEPTH) -> Any:
    """``value`` unchanged, if it is plain.

    Plain is: at most :data:`MAX_DEPTH` levels, no NaN or infinity (JSON has none), no NUL or lone surrogate in
    a text (PostgreSQL and UTF-8 have none), integers of at most 64 bits. Raises ValueError that names the fault.
    """
    if isinstance(value, str):
        _text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a JSON number")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("an integer has more than 64 bits")
    elif isinstance(value, dict | list):
        _inner(value, depth - 1)
    return value


def _inner(value: dict[Any, Any] | list[Any], depth: int) -> None:
    if depth < 0:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    for item in value.values() if isinstance(value, dict) else value:
        plain_json(item, depth)
    if isinstance(value, dict):
        for key in value:
            _text(key)


def _text(value: str) -> None:
    if "\x00" in value:
        raise ValueError("a text holds a NUL character")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("a text holds half of a surrogate pair")


PlainJson = Annotated[dict[str, Any], AfterValidator(plain_json)]
"""A JSON object that every store and reader takes (:func:`plain_json`)."""
