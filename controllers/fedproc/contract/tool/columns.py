"""Parameters whose texts name columns of the chosen datasets: ``x-columns`` of a schema's texts.

``x-columns: name`` says that the text is a column's name, ``x-columns: formula`` that it names columns as R's formulas
do: words that no bracket follows, and whatever stands in backticks. Whoever does not know the keyword ignores it, as
JSON Schema (2020-12, section 6.5) has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

KEYWORD = "x-columns"
KINDS = ("name", "formula")

_TERM = re.compile(r"`([^`]+)`|(\w+)(?!\w)(?!\s*\()")


def named_columns(schema: Any, value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Each column that ``value`` names by its ``schema``, with its place in it (``.variables.0.name``)."""
    if not isinstance(schema, Mapping):
        return
    if isinstance(value, str) and value:
        yield from ((where, name) for name in _names(schema.get(KEYWORD), value))
    elif isinstance(value, Mapping):
        for name, inner in _mapping(schema.get("properties")).items():
            yield from named_columns(inner, value.get(name), f"{where}.{name}")
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from named_columns(schema.get("items"), entry, f"{where}.{number}")


def names_columns(schema: Any) -> bool:
    """Whether any text of the schema names columns."""
    if not isinstance(schema, Mapping):
        return False
    inner = [schema.get("items"), *_mapping(schema.get("properties")).values()]
    return schema.get(KEYWORD) in KINDS or any(map(names_columns, inner))


def _names(kind: Any, text: str) -> Iterator[str]:
    if kind == "name":
        yield text
    elif kind == "formula":
        yield from in_formula(text)


def in_formula(text: str) -> list[str]:
    """The columns that a formula names, each once."""
    return list(dict.fromkeys(quoted or word for quoted, word in _TERM.findall(text) if not word[:1].isdigit()))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
