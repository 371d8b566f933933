"""Parameters whose texts name columns of the chosen datasets: ``x-columns`` of a schema's texts.

``x-columns: name`` says that the text is a column's name, ``x-columns: formula`` that it names columns as R's formulas
do: words that no bracket follows, and whatever stands in backticks. ``x-column-types`` beside it lists the types of
columns that the tool takes there, ``x-outcome-types`` those of the columns before a formula's ``~``.

``x-column-of: name`` of any value says that it is about the column that the text ``name`` of the same object names,
with ``x-column-types``, too: classes of a column are of numbers.

Whoever does not know the keywords ignores them, as JSON Schema has it (2020-12, section 6.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

KEYWORD = "x-columns"
KINDS = ("name", "formula")
TYPES_KEYWORD = "x-column-types"
OUTCOME_KEYWORD = "x-outcome-types"
OF_KEYWORD = "x-column-of"

_TERM = re.compile(r"`([^`]+)`|(\w+)(?!\w)(?!\s*\()")


class NamedColumn(NamedTuple):
    """A column that a parameter names.

    where: its place in the parameters (``.variables.0.name``)
    types: those that the tool takes there; empty where it does not say
    beside: it is named by another parameter, which this one is about
    """

    where: str
    name: str
    types: tuple[str, ...]
    beside: bool = False


def named_columns(schema: Any, value: Any, where: str = "") -> Iterator[NamedColumn]:
    """Each column that ``value`` names by its ``schema``."""
    if not isinstance(schema, Mapping):
        return
    if isinstance(value, str) and value:
        yield from _in_text(schema, value, where)
    elif isinstance(value, Mapping):
        for name, inner in _mapping(schema.get("properties")).items():
            yield from named_columns(inner, value.get(name), f"{where}.{name}")
            column = value.get(str(_mapping(inner).get(OF_KEYWORD)))
            if value.get(name) and isinstance(column, str) and column:
                yield NamedColumn(f"{where}.{name}", column, _texts(inner.get(TYPES_KEYWORD)), beside=True)
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from named_columns(schema.get("items"), entry, f"{where}.{number}")


def _in_text(schema: Mapping[str, Any], text: str, where: str) -> Iterator[NamedColumn]:
    kind, types, of_outcome = (schema.get(each) for each in (KEYWORD, TYPES_KEYWORD, OUTCOME_KEYWORD))
    left, sign, _ = text.partition("~")
    outcome = in_formula(left) if kind == "formula" and sign and of_outcome else ()
    for name in _names(kind, text):
        yield NamedColumn(where, name, _texts(of_outcome if name in outcome else types))


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
