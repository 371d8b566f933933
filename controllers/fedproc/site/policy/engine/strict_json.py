"""JSON that every reader reads alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fedproc.contract.plain import plain_json
from fedproc.site.policy.engine.layout import check_numbers


def strictly(raw: bytes) -> Any:
    """The content. Raises ValueError where two readers could read two things: a key twice, NaN, another encoding.

    Neither is anything taken that :func:`~fedproc.contract.plain.plain_json` refuses: deep nesting, huge integers.
    """
    try:
        text = raw.decode("utf-8")
        found = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_number)
        check_numbers(text)
        return plain_json(found)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def scalars(content: Any) -> Iterator[Any]:
    """Every text and number in it, keys too."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield key
            yield from scalars(value)
    elif isinstance(content, list):
        for value in content:
            yield from scalars(value)
    elif isinstance(content, str | int | float) and not isinstance(content, bool):
        yield content
