"""Parameters whose texts name columns of the chosen datasets: ``x-columns`` of a schema's texts.

``x-columns: name`` says that the text is a column's name, ``x-columns: formula`` that it names columns as R's formulas
do: words that no bracket follows, and whatever stands in backticks. ``x-column-types`` beside it lists the types of
columns that the tool takes there. Whoever does not know the keywords ignores them, as JSON Schema has it (2020-12,
section 6.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

KEYWORD = "x-columns"
KINDS = ("name", "formula")
TYPES_KEYWORD = "x-column-types"

_TERM = re.compile(r"`([^`]+)`|(\w+)(?!\w)(?!\s*\()")


class NamedColumn(NamedTuple):
    """A column that a parameter names.

    where: its place in the parameters (``.variables.0.name``)
    types: those that the tool takes there; empty where it does not say
    """

    where: str
    name: str
    types: tuple[str, ...]


def named_columns(schema: Any, value: Any, where: str = "") -> Iterator[NamedColumn]:
    """Each column that ``value`` names by its ``schema``."""
    if not isinstance(schema, Mapping):
        return
    if isinstance(value, str) and value:
        types = _texts(schema.get(TYPES_KEYWORD))
        yield from (NamedColumn(where, name, types) for name in _names(schema.get(KEYWORD), value))
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


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
