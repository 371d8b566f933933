"""Whether a JSON Schema leaves room for what nobody declared: free text, unknown keys, numbers of no statistic.

The schema of an output is closed if whatever it admits can be told beforehand, or is counted by a statistic.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedproc.contract.tool.keywords import REFERENCE, of_types, others_beside, redirections
from fedproc.contract.tool.outputs import MOST_ROWS
from fedproc.contract.tool.statistics import StatisticDecl

SOURCES = {
    "parameters": "what the experiment's parameters hold",
    "steps": "multiples, up to a thousand, of numbers in the parameters",
    "dataset": "names, versions, columns, units and categories of the datasets",
    "order": "ids of the job, its experiment, its hosts, its tool",
    "inputs": "what released outputs of other tasks hold",
    "terms": "terms of a model: columns that the parameters name, with categories that are known",
}
"""Where a value may be taken from that is known before the tool runs: ``x-from`` of a schema's text or number."""
SHORT, LONG = 20, 80
"""characters of a text that a pattern admits, and of one that is declared letter by letter"""
MOST_LETTERS = {SHORT: 2_000, LONG: 32_000}
"""characters that one document may have by patterns in all: what a lying tool can write there (docs/security.md)"""
_DEPTH = 24
_SPAN = 1_000
"""how many whole numbers one that is no statistic may range over"""
_STEPS = 10_000
_SEVERAL = ("anyOf", "oneOf")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_INTRICATE = re.compile(r"\)[*+{?]|\(\?|\\[1-9]")
_REPEATS = re.compile(r"[*+{]")
_MOST_REPEATS = 4
_OF_NUMBERS = ("parameters", "steps")
"""what else holds numbers holds so many that nearly each is among them"""


@dataclass(frozen=True)
class Place:
    """A part of the schema: where in the document, and what may stand there."""

    path: str
    node: Mapping[str, Any]
    times: int = 1
    """how often, at most"""

    @property
    def shown(self) -> str:
        return self.path or "the document"

    def inner(self, step: str, node: Any, times: int = 1) -> Place:
        """What stands in it, so many times."""
        return Place(f"{self.path}{step}".lstrip("."), _as_node(node), self.times * times)

    def of(self, node: Any) -> Place:
        """The same place with another word on what may stand there."""
        return Place(self.path, _as_node(node), self.times)

    @property
    def characters(self) -> int:
        """How many characters of its own choice may be there in all, by a pattern."""
        declared = {"enum", "const", "x-from"} & self.node.keys()
        return 0 if declared or self.node.get("type") != "string" else int(self.node.get("maxLength", 0)) * self.times


def problems(schema: Any, statistics: Sequence[StatisticDecl], longest: int = SHORT) -> list[str]:
    """What keeps the schema from being closed, each with its place; ``longest`` is that of a text by a pattern."""
    counted = {f"{s.at}.{name}".lstrip(".") for s in statistics for name in s.fields()}
    below = tuple(f"{s.at}.{name}".lstrip(".") for s in statistics for name in s.values)
    found = list(redirections(schema))
    characters = 0
    try:
        for place in _Walk(schema).leaves(Place("", _as_node(schema)), _DEPTH):
            characters += place.characters
            is_counted = place.path in counted or any(_is_below(place.path, value) for value in below)
            found += [f"{place.shown}: {text}" for text in _of_leaf(place.node, longest, is_counted)]
    except _NotClosedError as error:
        found.append(str(error))
    if characters > (most := MOST_LETTERS[longest]):
        found.append(
            f"texts by patterns may have {characters} characters in all; at most {most}: fewer, or shorter ones"
        )
    return list(dict.fromkeys(found))


def leaves_of(schema: Any) -> tuple[Place, ...]:
    """The places of all values that a closed schema admits; empty for one that is not closed."""
    try:
        return tuple(_Walk(schema).leaves(Place("", _as_node(schema)), _DEPTH))
    except _NotClosedError:
        return ()


class _NotClosedError(Exception):
    """Something in the schema takes any value."""


def _as_text(schema: Any) -> Mapping[str, Any]:
    """Of a key, which is a text without being said to be."""
    node = _as_node(schema)
    return node if {"$ref", *_SEVERAL, "enum", "const", "type"} & node.keys() else {"type": "string", **node}


def _is_below(path: str, value: str) -> bool:
    return path.startswith((f"{value}[]", f"{value}{{}}", f"{value}."))


def _as_node(schema: Any) -> Mapping[str, Any]:
    return schema if isinstance(schema, Mapping) else {}


class _Walk:
    """Through one schema, in so many steps at most: its references and choices may multiply without end."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._steps = 0

    def leaves(self, place: Place, depth: int) -> Iterator[Place]:
        """All parts that are neither object nor list. Raises :class:`_NotClosedError`."""
        self._steps += 1
        if depth == 0 or self._steps > _STEPS:
            raise _NotClosedError(f"{place.shown}: the schema is too large, or leads back to itself")
        node = place.node
        if "$ref" in node:
            self._check(place, {"$ref"}, "$ref")
            yield from self.leaves(place.of(self._resolved(node["$ref"], place)), depth - 1)
        elif several := next((key for key in _SEVERAL if key in node), None):
            self._check(place, {several}, several)
            for way in node[several]:
                yield from self.leaves(place.of(way), depth - 1)
        elif "enum" in node or "const" in node:
            self._check(place, {"enum", "const", "type"}, "enum or const")
            yield place
        else:
            yield from self._of_types(place, depth)

    def _of_types(self, place: Place, depth: int) -> Iterator[Place]:
        kinds = place.node.get("type")
        if not kinds:
            raise _NotClosedError(f"{place.shown}: takes any value; give type, enum, const, anyOf, oneOf or $ref")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        self._check(place, of_types(kinds), " or ".join(kinds))
        for kind in kinds:
            if kind == "object":
                yield from self._of_object(place, depth)
            elif kind == "array":
                yield from self._of_list(place, depth)
            else:
                yield place.of({**place.node, "type": kind})

    def _of_object(self, place: Place, depth: int) -> Iterator[Place]:
        node = place.node
        for name, inner in node.get("properties", {}).items():
            if not _FIELD.fullmatch(name):
                raise _NotClosedError(f"{place.shown}: {name!r} does not do as a name; letters, digits, _ and - do")
            yield from self.leaves(place.inner(f".{name}", inner), depth - 1)
        others = node.get("additionalProperties", True)
        if others is False:
            return
        if others is True or "propertyNames" not in node or not 0 < node.get("maxProperties", 0) <= MOST_ROWS:
            raise _NotClosedError(
                f"{place.shown}: takes any key; say additionalProperties: false, or a schema there with propertyNames"
                f" and maxProperties (at most {MOST_ROWS})"
            )
        names = place.inner(" (a key)", _as_text(node["propertyNames"]), node["maxProperties"])
        yield from self.leaves(names, depth - 1)
        yield from self.leaves(place.inner("{}", others, node["maxProperties"]), depth - 1)

    def _of_list(self, place: Place, depth: int) -> Iterator[Place]:
        node = place.node
        for inner in node.get("prefixItems", ()):
            yield from self.leaves(place.inner("[]", inner), depth - 1)
        if node.get("items", True) is False:
            return
        if not 0 <= node.get("maxItems", MOST_ROWS + 1) <= MOST_ROWS:
            raise _NotClosedError(f"{place.shown}: a list of any length; say maxItems (at most {MOST_ROWS})")
        yield from self.leaves(place.inner("[]", node.get("items", True), node["maxItems"]), depth - 1)

    def _check(self, place: Place, allowed: Collection[str], of: str) -> None:
        if others := others_beside(place.node, allowed, place.node is self._root):
            raise _NotClosedError(f"{place.shown}: {of} beside {others[0]}, which is not taken here")

    def _resolved(self, reference: Any, place: Place) -> Mapping[str, Any]:
        name = str(reference).rpartition("/")[2]
        found = self._root.get("$defs", {}).get(name) if REFERENCE.fullmatch(str(reference)) else None
        if not isinstance(found, Mapping):
            raise _NotClosedError(f"{place.shown}: $ref {reference!r} leads nowhere; it is #/$defs/NAME")
        return found


# -- what may stand at one place -----------------------------------------------------------------------


def _of_leaf(node: Mapping[str, Any], longest: int, is_counted: bool) -> Iterator[str]:
    if "x-from" in node:
        yield from _of_sources(node["x-from"], SOURCES if node.get("type") in ("string", "null") else _OF_NUMBERS)
    elif "const" in node:
        if isinstance(node["const"], dict | list):
            yield "a declared value is a list or an object"
    elif "enum" in node:
        if any(isinstance(value, dict | list) or len(str(value)) > LONG for value in node["enum"]):
            yield f"a declared value is a list, an object, or longer than {LONG} characters; give long ones as const"
    elif node["type"] == "string":
        yield from _of_text(node, longest)
    elif node["type"] in ("integer", "number") and not is_counted and not _is_small(node):
        yield (
            "a number of which nothing is said: name it in a statistic, say x-from, or make it a whole number from"
            f" minimum to maximum, {_SPAN} apart at most"
        )


def _of_sources(sources: Any, known: Collection[str]) -> Iterator[str]:
    if not isinstance(sources, list | tuple) or not sources or any(each not in known for each in sources):
        yield f"x-from is here a list of {', '.join(known)}"


def _of_text(node: Mapping[str, Any], longest: int) -> Iterator[str]:
    pattern = node.get("pattern", "")
    if _INTRICATE.search(pattern) or len(_REPEATS.findall(pattern)) > _MOST_REPEATS:
        yield f"a pattern with a repeated group, a condition, or more than {_MOST_REPEATS} repetitions takes too long"
    if not (pattern.startswith("^") and pattern.endswith("$")) or node.get("maxLength", longest + 1) > longest:
        yield (
            f"free text; say enum, const, x-from, or a pattern from ^ to $ with a maxLength of at most {longest}"
            " characters"
        )


def _is_small(node: Mapping[str, Any]) -> bool:
    """Whether it is a whole number of a small range, as the number of a round."""
    least, most = node.get("minimum"), node.get("maximum")
    return node["type"] == "integer" and least is not None and most is not None and most - least <= _SPAN
