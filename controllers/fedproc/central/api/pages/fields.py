"""A form made from a tool's JSON Schema (2020-12), and the values that come back from it. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fedproc.contract.tool.lists import Listed, entries, example_list, listed, shown
from fedproc.contract.tool.values import expected, shown_example, written

_SCALARS = frozenset({"string", "integer", "number"})
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|[+-]?\.[0-9]+([eE][+-]?[0-9]+)?")
_DEEPEST = 50
_LONGEST_INTEGER = 300
"""digits; a longer one is no number that a program reads"""


@dataclass(frozen=True)
class Field:
    """One parameter as it is asked for; ``kind``: select, number, text, lines or json."""

    name: str
    kind: str
    label: str
    description: str
    hint: str
    value: str
    required: bool
    options: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    """of a select: what each option stands for"""
    attributes: Mapping[str, str] = field(default_factory=dict)
    listed: Listed | None = None
    """how a list is meant that is typed without brackets"""
    form: str = ""
    """how it is typed, where it is no single value"""
    example: str = ""
    """as one types it"""


def fields(schema: Mapping[str, Any], given: Mapping[str, str], by_host: bool | None = None) -> list[Field]:
    """Every parameter, or those that may (not) differ by host; ``given`` are texts by name, as they were typed."""
    wanted = schema.get("properties", {}).items()
    return [
        _field(name, each, schema, given.get(name))
        for name, each in wanted
        if isinstance(each, Mapping) and by_host in {None, each.get("x-scope") == "host"}
    ]


def without_defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    """For what may differ by host: left empty, it is as for all hosts, and the default is a value like any other."""
    properties = {
        name: {key: value for key, value in each.items() if key != "default"}
        for name, each in schema.get("properties", {}).items()
        if isinstance(each, Mapping)
    }
    return {**schema, "properties": properties, "required": []}


def filled(known: Sequence[Field], given: Mapping[str, str]) -> list[Field]:
    """The same fields with other texts in them."""
    return [replace(each, value=given.get(each.name, each.value)) for each in known]


def _field(name: str, schema: Mapping[str, Any], root: Mapping[str, Any], given: str | None) -> Field:
    kind, values = _kind(schema)
    default = schema.get("default")
    return Field(
        name=name,
        kind=kind,
        label=str(schema.get("title") or name),
        description=str(schema.get("description", "")),
        hint=_hint(schema, root),
        value=shown_in(kind, default) if given is None else given,
        required=name in root.get("required", ()) and default is None,
        options=tuple(map(written, values)),
        values=values,
        attributes=_attributes(schema) if kind == "number" else {},
        listed=listed(schema),
        form=_form(kind, schema),
        example=_example(schema, root),
    )


def _kind(schema: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    if "enum" in schema:
        return "select", tuple(schema["enum"])
    kind = schema.get("type")
    if kind == "boolean":
        return "select", (True, False)
    if kind in ("integer", "number"):
        return "number", ()
    if kind == "array" and _mapping(schema.get("items")).get("type") in _SCALARS:
        return "lines", ()
    return ("text" if kind == "string" else "json"), ()


def _hint(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    example = _example(schema, root)
    text = expected(schema, root)
    return f"{text[:1].upper()}{text[1:]}" + (f"; for example {example}" if example and len(example) < 80 else "")


def _example(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    return example_list(schema, root) or shown_example(schema, root)


def _form(kind: str, schema: Mapping[str, Any]) -> str:
    if kind == "lines":
        return "with commas between, or one a line"
    if kind == "json":
        return "as a list with commas between, or as JSON" if listed(schema) else "as JSON"
    return ""


def _attributes(schema: Mapping[str, Any]) -> dict[str, str]:
    """What a browser knows of a number."""
    found = {short: str(schema[long]) for short, long in (("min", "minimum"), ("max", "maximum")) if long in schema}
    return {**found, "step": "1" if schema.get("type") == "integer" else "any"}


def shown_in(kind: str, value: Any) -> str:
    """A value as it stands in a field of that kind."""
    if value is None:
        return ""
    if kind == "lines" and isinstance(value, list):
        return shown(value, "\n") if value else ""
    if kind == "json":
        return json.dumps(value, ensure_ascii=False)
    return written(value) if value != "" else ""


def texts(schema: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, str]:
    """Values of an earlier experiment as they stand in the form."""
    return {each.name: shown_in(each.kind, values[each.name]) for each in fields(schema, {}) if each.name in values}


def read(known: Sequence[Field], given: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values that were typed, and what is wrong, by name. What is left empty, or as the field began, is not sent.

    What is no value of its kind is sent as it was typed, since the API says best what it should be.
    """
    values, wrong = dict[str, Any](), dict[str, str]()
    for each in known:
        text = given.get(each.name, "")
        if not text.strip() or text == each.value:
            continue
        try:
            values[each.name] = _value(each, text)
        except ValueError as error:
            wrong[each.name] = f"{error}; for example {each.example}" if each.example else str(error)
    for name in given.keys() - {each.name for each in known}:
        values[name] = given[name]
    return values, wrong


def _value(of: Field, text: str) -> Any:
    if of.kind in {"lines", "json"}:
        return _structured(of, text)
    if of.kind == "number":
        return _number(text)
    if of.kind == "select" and text in of.options:
        return of.values[of.options.index(text)]
    return text


def _structured(of: Field, text: str) -> Any:
    """A list without brackets, or JSON; which of them, its first character says."""
    if of.listed is None or text.lstrip()[:1] in {"{", '"'}:
        return _json(text)
    if text.lstrip()[:1] == "[":
        found = _json(text)
        return of.listed.value(found) if isinstance(found, list) else found
    found = entries(text, of_numbers=of.listed.of_numbers)
    return of.listed.value([_number(each) if of.listed.of_numbers else each for each in found])


def _number(text: str) -> Any:
    """As JSON has numbers: what is none (``nan``, ``1_0``) stays a text, which the API refuses by the field's type."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return text
    if not text.lstrip("+-").isdigit():
        return _finite(text)
    if len(text) > _LONGEST_INTEGER:
        raise _too_large(text)
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _too_large(text)
    return number


def _too_large(text: str) -> ValueError:
    return ValueError(f"{text[:20]} is larger than any number that can be sent")


def _json(text: str) -> Any:
    try:
        value = json.loads(text, parse_float=_finite, parse_int=_number, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()
        too_deep = _is_deeper(value, _DEEPEST)
    except RecursionError:
        too_deep = True
    except UnicodeEncodeError:
        raise ValueError("is not JSON: it has half a surrogate pair, which is no character") from None
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from error
    if too_deep:
        raise ValueError(f"is not JSON that can be sent: it is nested deeper than {_DEEPEST} levels")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _is_deeper(value: Any, most: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return most == 0 or any(_is_deeper(each, most - 1) for each in inner)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
