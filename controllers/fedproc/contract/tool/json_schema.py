"""JSON Schema (2020-12), by a library that is loaded with the first schema: a host without work does without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


def validator(schema: Any) -> Draft202012Validator:
    """A schema may refer to itself only: nothing is fetched from anywhere."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(schema, registry=Registry())


def check_schema(schema: Any, name: str) -> None:
    """Raises ValueError if ``schema``, which is called ``name``, is no JSON Schema."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"{name}: not a JSON Schema: {error.message}") from error


def is_valid(value: Any, schema: Any) -> bool:
    """Whether ``schema`` admits ``value``; no, where it is no schema, or refers to what is not in it."""
    from jsonschema.exceptions import SchemaError
    from referencing.exceptions import Unresolvable

    try:
        return bool(validator(schema).is_valid(value))
    except (Unresolvable, SchemaError):
        return False
