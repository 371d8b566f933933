"""JSON Schema (2020-12), by a library that is loaded with the first schema: a host without work does without it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

RISING = "x-rising"
"""``x-rising: true`` of a list of numbers: each is greater than the one before."""


def validator(schema: Any) -> Draft202012Validator:
    """A schema may refer to itself only: nothing is fetched from anywhere. It knows :data:`RISING`."""
    from referencing import Registry

    return _dialect()(schema, registry=Registry())


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


@cache
def _dialect() -> type[Draft202012Validator]:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    extended: type[Draft202012Validator] = extend(Draft202012Validator, {RISING: _rising})  # type: ignore[no-untyped-call]
    return extended


def _rising(_: Any, wanted: Any, values: Any, __: Any) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    numbers = [value for value in values if _is_number(value)] if isinstance(values, list) else []
    for before, after in pairwise(numbers):
        if wanted is True and not before < after:
            yield ValidationError(f"must rise, and {after} comes after {before}")
            return


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
