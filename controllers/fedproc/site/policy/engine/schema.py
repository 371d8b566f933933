"""Whether a document is as its closed schema says, with what may be repeated from known values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from fedproc.contract.tool.closed_schema import LONG
from fedproc.site.policy.engine.known import Known

if TYPE_CHECKING:  # loaded with the first document: a host without work does without
    from jsonschema.exceptions import ValidationError


def difference_of(document: Any, schema: dict[str, Any], known: Known) -> str | None:
    """Where in ``schema`` it says what the document is not; empty for a control character; None if it is so."""
    if any(_is_odd(text) for text in _texts(document)):
        return ""
    first = _first_error(document, schema, known)
    return None if first is None else "/".join(map(str, first.absolute_schema_path))


def explained(document: Any, schema: dict[str, Any], known: Known) -> str:
    """Where in the document it differs first, and how, with its values: for who made it up, never for a log."""
    if any(_is_odd(text) for text in _texts(document)):
        return "a text or a key holds a character that cannot be printed"
    first = _first_error(document, schema, known)
    return "" if first is None else f"{_place(first.absolute_path)}: {first.message}"


def _place(path: Iterable[str | int]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).lstrip(".") or "the document"


def _first_error(document: Any, schema: dict[str, Any], known: Known) -> ValidationError | None:
    from referencing import Registry

    errors: Iterator[ValidationError] = _validator(known)(schema, registry=Registry()).iter_errors(document)
    return next(errors, None)


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield key
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)
    elif isinstance(content, str):
        yield content


def _is_odd(text: str) -> bool:
    return not text.isprintable()


def _validator(known: Known) -> Any:
    from jsonschema import Draft202012Validator, validators
    from jsonschema.exceptions import ValidationError

    def from_known(_validator: Any, names: Any, value: Any, _schema: Any) -> Iterator[ValidationError]:
        if value is not None and not isinstance(value, bool) and not known.holds(names, value):
            yield ValidationError(f"{value!r} is not among the known values")

    # a known value may be one of the other ways by chance, as a category "1" beside enum ["0", "1"]: each way admits it
    own = {"x-from": from_known, "pattern": _pattern, "oneOf": Draft202012Validator.VALIDATORS["anyOf"]}
    return validators.extend(Draft202012Validator, own)  # type: ignore[no-untyped-call]


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """A long text is not even tried: whoever wrote the pattern may have meant it to take for ever."""
    from jsonschema.exceptions import ValidationError

    if isinstance(value, str) and (len(value) > LONG or not re.search(pattern, value)):
        yield ValidationError("does not match")
