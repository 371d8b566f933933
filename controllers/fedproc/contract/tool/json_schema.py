"""JSON Schema (2020-12), by a library that is loaded with the first schema: a host without work does without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any

from fedproc.contract.tool.formulas import formula_error

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

RISING = "x-rising"
"""``x-rising: true`` of a list of numbers: each is greater than the one before."""
MULTIPLES = "x-multiples"
"""``x-multiples: {end: step}`` of an object: its number ``end`` is a multiple of its number ``step``."""
FORMULA = "x-columns"
"""``x-columns: formula`` of a text: it is written as formulas are, and calls none but :data:`FUNCTIONS`, if they are
said."""
FUNCTIONS = "x-functions"
_ROUNDING = 1e-9
"""of a multiple; tools count their steps as nearly"""


def validator(schema: Any) -> Draft202012Validator:
    """A schema may refer to itself only: nothing is fetched from anywhere.

    It knows :data:`RISING`, :data:`MULTIPLES` and :data:`FORMULA`.
    """
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

    own = {RISING: _rising, MULTIPLES: _multiples, FORMULA: _formula}
    extended: type[Draft202012Validator] = extend(Draft202012Validator, own)  # type: ignore[no-untyped-call]
    return extended


def _rising(_: Any, wanted: Any, values: Any, __: Any) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    numbers = [value for value in values if _is_number(value)] if isinstance(values, list) else []
    for before, after in pairwise(numbers):
        if wanted is True and not before < after:
            yield ValidationError(f"must rise, and {after} comes after {before}")
            return


def _multiples(_: Any, wanted: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    if not isinstance(value, Mapping) or not isinstance(wanted, Mapping):
        return
    for name, of in wanted.items():
        whole, step = value.get(name), value.get(str(of))
        if whole is None or not step or not (_is_number(whole) and _is_number(step)):
            continue
        if not _is_multiple(float(whole), float(step)):
            yield ValidationError(f"{name} must be a multiple of {of}, and {whole} is none of {step}")


def _is_multiple(whole: float, step: float) -> bool:
    count = whole / step
    return isfinite(count) and abs(count - round(count)) <= _ROUNDING


def _formula(_: Any, kind: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    if kind != "formula" or not isinstance(value, str):
        return
    functions = schema.get(FUNCTIONS)
    known = [each for each in functions if isinstance(each, str)] if isinstance(functions, list) else None
    wrong = formula_error(value, known)
    if wrong is not None:
        yield ValidationError(f"cannot be read as a formula: {wrong}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
