"""What a JSON Schema (2020-12) of parameters wants, in words, and with an example."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fedproc.contract.tool import json_schema

_DEPTH = 4
_MANY = 12
_LONG = 200


def expected(schema: Any, root: Any = None, depth: int = _DEPTH) -> str:
    """A valid value in words, such as ``a whole number from 1 to 100``; ``root`` is what its references refer to."""
    schema = _resolved(schema, schema if root is None else root)
    if not isinstance(schema, Mapping) or depth == 0:
        return "any value"
    if "const" in schema:
        return short(schema["const"])
    if "enum" in schema:
        shown = ", ".join(map(short, schema["enum"][:_MANY]))
        return f"one of {shown}{', …' if len(schema['enum']) > _MANY else ''}"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            ways = (expected(_joined(schema, way, several), root, depth - 1) for way in schema[several])
            return " or ".join(dict.fromkeys(ways))
    kind = schema.get("type") or _kind_of(schema)
    if isinstance(kind, list):
        return " or ".join(expected({**schema, "type": each}, root, depth) for each in kind)
    return _of_kind(str(kind), schema, root, depth)


def _of_kind(kind: str, schema: Mapping[str, Any], root: Any, depth: int) -> str:
    if kind in {"integer", "number"}:
        return ("a whole number" if kind == "integer" else "a number") + _range(schema)
    if kind == "string":
        return "text" + _length(schema, "characters") + _form(schema)
    if kind == "array":
        rising = ", rising" if schema.get(json_schema.RISING) is True else ""
        return "a list" + _length(schema, "entries") + rising + _entries(schema, root, depth)
    if kind == "object":
        return _object(schema, root, depth)
    return {"boolean": "true or false", "null": "null"}.get(kind, "any value")


def _joined(schema: Mapping[str, Any], way: Any, keyword: str) -> Any:
    """One of several ways with what holds for all of them."""
    if not isinstance(way, Mapping):
        return way
    return {**{key: value for key, value in schema.items() if key not in {keyword, "default", "examples"}}, **way}


def _kind_of(schema: Mapping[str, Any]) -> str:
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else ""


def _range(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        text = f" from {least} to {most}"
    else:
        text = "" if least is None else f" of {least} or more"
        text += "" if most is None else f" of {most} or less"
    text += f" above {schema['exclusiveMinimum']}" if "exclusiveMinimum" in schema else ""
    text += f" below {schema['exclusiveMaximum']}" if "exclusiveMaximum" in schema else ""
    return text + (f", a multiple of {schema['multipleOf']}" if "multipleOf" in schema else "")


def _length(schema: Mapping[str, Any], unit: str) -> str:
    least = schema.get("minLength" if unit == "characters" else "minItems", 0)
    most = schema.get("maxLength" if unit == "characters" else "maxItems")
    if most is None:
        return f" of {least} {unit} or more" if least > 1 else (", not empty" if least else "")
    return f" of {least} to {most} {unit}" if least else f" of {most} {unit} or less"


def _form(schema: Mapping[str, Any]) -> str:
    text = f" ({schema['format']})" if "format" in schema else ""
    if "pattern" not in schema:
        return text
    if isinstance(schema.get("x-form"), str):
        return f"{text}: {schema['x-form']}"
    if isinstance(shown := schema.get("examples"), list) and shown:
        return f"{text}, such as {short(shown[0])}"
    return f"{text} that matches {schema['pattern']}"


def _entries(schema: Mapping[str, Any], root: Any, depth: int) -> str:
    items = schema.get("items")
    return f", each entry {expected(items, root, depth - 1)}" if isinstance(items, Mapping) else ""


def _object(schema: Mapping[str, Any], root: Any, depth: int) -> str:
    inner, required = schema.get("properties", {}), schema.get("required", ())
    if not inner:
        return "an object"
    parts = (
        f'"{name}": {expected(each, root, depth - 1)}{"" if name in required else " (optional)"}'
        for name, each in inner.items()
    )
    return f"{{{', '.join(parts)}}}"


def _resolved(schema: Any, root: Any) -> Any:
    """What a reference inside the tool's own schema leads to; a schema that it is, where there is none."""
    seen = 0
    while isinstance(schema, Mapping) and "$ref" in schema and seen < _DEPTH:
        found, seen = root, seen + 1
        for step in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
            found = found.get(step, {}) if isinstance(found, Mapping) and step else found
        schema = {**{key: value for key, value in schema.items() if key != "$ref"}, **found}
    return schema


def example(schema: Any, root: Any = None) -> Any:
    """A valid value: the schema's own first example, or one that is made up; None if none is found."""
    root = schema if root is None else root
    made = _made(schema, root, _DEPTH)
    return made if made is not None and is_valid(made, schema, root) else None


def is_valid(value: Any, schema: Any, root: Any) -> bool:
    """Whether the value is one of this part of the schema ``root``."""
    if not isinstance(schema, Mapping):
        return schema is not False
    whole = {**{key: root[key] for key in ("$defs", "definitions") if key in root}, **schema}
    return json_schema.is_valid(value, whole)


def _made(schema: Any, root: Any, depth: int) -> Any:
    schema = _resolved(schema, root)
    if not isinstance(schema, Mapping) or depth == 0:
        return None
    for given in (schema.get("examples"), [schema.get("const")], [schema.get("default")], schema.get("enum")):
        if isinstance(given, list) and given and given[0] is not None and given[0] not in ([], {}, ""):
            return given[0]
    for several in ("anyOf", "oneOf"):
        if several in schema:
            made = (_made(_joined(schema, way, several), root, depth - 1) for way in schema[several])
            return next((value for value in made if value is not None), None)
    kind = schema.get("type") or _kind_of(schema)
    return _made_of_kind(kind[0] if isinstance(kind, list) else kind, schema, root, depth)


def _made_of_kind(kind: str, schema: Mapping[str, Any], root: Any, depth: int) -> Any:
    if kind in {"integer", "number"}:
        least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        return least if "minimum" in schema else least + schema.get("multipleOf", 1)
    if kind == "array":
        entry = _made(schema.get("items", {}), root, depth - 1)
        return None if entry is None else [entry] * max(1, schema.get("minItems", 1))
    if kind == "object":
        inner = schema.get("properties", {})
        names = schema.get("required") or list(inner)
        return {name: _made(inner.get(name, {}), root, depth - 1) for name in names}
    return {"boolean": True, "string": "text"}.get(kind)


def shown_example(schema: Any, root: Any) -> str:
    """The example as one writes it on the command line; nothing if there is none."""
    value = example(schema, root)
    return "" if value is None else written(value)


def default_text(schema: Mapping[str, Any]) -> str:
    """The default of a parameter, if it has one."""
    default = schema.get("default")
    return "" if default is None else written(default)


def written(value: Any) -> str:
    """A value as it stands behind ``NAME=`` on the command line: text as it is, all else as JSON."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def short(value: Any) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONG else text[:_LONG] + "…"
