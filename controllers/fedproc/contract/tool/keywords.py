"""The keywords of JSON Schema that the schema of an output may use: all others, known or not, may change its meaning.

A validator that reads such a keyword would admit other documents than those that were looked for here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REFERENCE = re.compile(r"#/\$defs/[A-Za-z0-9_-]+")

_WORDS = frozenset({"title", "description", "examples", "default", "$comment"})
"""what says nothing of the values"""
_NUMBER = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "x-from"})
_OF_TYPE: Mapping[str, frozenset[str]] = {
    "object": frozenset(
        {"properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"}
    ),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "string": frozenset({"pattern", "minLength", "maxLength", "x-from"}),
    "number": _NUMBER,
    "integer": _NUMBER,
}
_ELSEWHERE = frozenset(
    {"$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$recursiveAnchor", "$vocabulary"}
)
_DEPTH = 60


def others_beside(node: Mapping[str, Any], allowed: Iterable[str], is_root: bool) -> list[str]:
    """The keywords of a node that are neither ``allowed`` nor mere words."""
    return sorted(node.keys() - _WORDS - set(allowed) - ({"$schema", "$defs"} if is_root else set()))


def of_types(kinds: Iterable[str]) -> set[str]:
    """What may be said of values of these types."""
    return {"type"}.union(*(_OF_TYPE.get(kind, frozenset()) for kind in kinds))


def redirections(schema: Any) -> Iterator[str]:
    """What would have a validator look elsewhere, or read on by other rules, wherever in the schema it stands."""
    if isinstance(schema, Mapping) and schema.get("$schema", DIALECT) != DIALECT:
        yield f"$schema: is {DIALECT}, or not there"
    yield from _redirections(schema, True, _DEPTH)


def _redirections(part: Any, is_root: bool, depth: int) -> Iterator[str]:
    if depth == 0:
        yield "the schema is nested too deep"
    elif isinstance(part, Mapping):
        yield from (f"{key} is not taken" for key in sorted(_ELSEWHERE & part.keys()))
        if not is_root:
            yield from (f"{key} stands at the root of the schema alone" for key in ("$schema", "$defs") if key in part)
        for inner in part.values():
            yield from _redirections(inner, False, depth - 1)
    elif isinstance(part, list | tuple):
        for inner in part:
            yield from _redirections(inner, False, depth - 1)
