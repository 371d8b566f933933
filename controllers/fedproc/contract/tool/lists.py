"""Lists as people write them, ``0, 6, 12`` instead of ``[0, 6, 12]``, where a schema of parameters wants one. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedproc.contract.tool.values import example, is_valid

_SCALARS = frozenset({"string", "integer", "number"})


@dataclass(frozen=True)
class Listed:
    """How a plain list is meant: entries of the type ``item``; with ``key``, in an object's only property."""

    item: str
    key: str | None = None

    @property
    def of_numbers(self) -> bool:
        """Whether each entry is a number."""
        return self.item != "string"

    def value(self, entries: Sequence[Any]) -> Any:
        """The value that the schema wants."""
        return list(entries) if self.key is None else {self.key: list(entries)}


def listed(schema: Any) -> Listed | None:
    """For a schema that takes lists of texts or of numbers, and no text; None for others."""
    ways = list(_ways(schema))
    if any("string" in _types(way) or "enum" in way for way in ways):
        return None
    plain = [Listed(item) for way in ways if (item := _item(way))]
    within = [found for way in ways if (found := _within(way)) is not None]
    return next(iter([*plain, *(within if len(within) == 1 else [])]), None)


def entries(text: str, *, of_numbers: bool) -> list[str]:
    """The entries of a list without brackets: one a line, or between ``;``, or between ``,``.

    Between numbers blanks are enough. Where lines or ``;`` part texts, a comma is part of its text.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if ";" in text:
        found = re.split(r"[;\n]", "\n".join(lines))
    elif of_numbers:
        found = re.split(r"[,\s]+", text)
    else:
        found = lines if len(lines) > 1 else text.split(",")
    return [each.strip() for each in found if each.strip()]


def shown(values: Sequence[Any], between: str = ", ") -> str:
    """A list as :func:`entries` reads it; as JSON where it would read another one."""
    text = between.join(map(str, values))
    again = entries(text, of_numbers=all(isinstance(each, int | float) for each in values))
    return text if values and again == list(map(str, values)) else json.dumps(list(values), ensure_ascii=False)


def example_list(schema: Any, root: Any) -> str:
    """An example as one writes it without brackets; nothing where no list is taken."""
    form = listed(schema)
    if form is None:
        return ""
    for value in [*_examples(schema), example(schema, root)]:
        inner = value.get(form.key) if form.key is not None and isinstance(value, Mapping) else value
        if isinstance(inner, list) and inner and not isinstance(inner[0], list | dict):
            return shown(inner)
    return ""


def fitted(schema: Any, root: Any, value: Any) -> Any:
    """What was given as a text or a number where the schema wants a list of such, or of objects that need one text
    alone; or as a list where it wants an object of one. Whatever else it is, as it is."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | list) or is_valid(value, schema, root):
        return value
    form = listed(schema)
    if isinstance(value, list):
        return value if form is None or form.key is None else form.value(value)
    if form is not None:
        return form.value(list(_values(entries(str(value), of_numbers=form.of_numbers), form)))
    name = _only_text(schema)
    return value if name is None else [{name: each} for each in entries(str(value), of_numbers=False)]


def _values(found: Sequence[str], form: Listed) -> Iterator[Any]:
    for each in found:
        try:
            value = json.loads(each) if form.of_numbers else each
        except ValueError:
            value = each
        yield value if isinstance(value, int | float) and not isinstance(value, bool) else each


def _only_text(schema: Any) -> str | None:
    """For a list of objects the property that each of them needs, if it is one, and a text."""
    items = schema.get("items") if isinstance(schema, Mapping) and schema.get("type") == "array" else None
    if not isinstance(items, Mapping) or items.get("type") != "object":
        return None
    required, inner = items.get("required"), items.get("properties")
    name = required[0] if isinstance(required, list) and len(required) == 1 else None
    wanted = inner.get(name) if isinstance(inner, Mapping) and isinstance(name, str) else None
    return name if isinstance(wanted, Mapping) and wanted.get("type") == "string" else None


def _examples(schema: Any) -> list[Any]:
    given = schema.get("examples") if isinstance(schema, Mapping) else None
    return given if isinstance(given, list) else []


def _ways(schema: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, Mapping):
        several = schema.get("oneOf") or schema.get("anyOf")
        yield from (way for way in several if isinstance(way, Mapping)) if isinstance(several, list) else (schema,)


def _types(schema: Mapping[str, Any]) -> list[Any]:
    kind = schema.get("type")
    return kind if isinstance(kind, list) else [kind]


def _item(schema: Any) -> str:
    items = schema.get("items") if isinstance(schema, Mapping) and schema.get("type") == "array" else None
    kind = items.get("type") if isinstance(items, Mapping) else None
    return kind if isinstance(kind, str) and kind in _SCALARS else ""


def _within(schema: Mapping[str, Any]) -> Listed | None:
    inner = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(inner, Mapping) or len(inner) != 1:
        return None
    [(name, only)] = inner.items()
    return Listed(item, str(name)) if (item := _item(only)) else None
