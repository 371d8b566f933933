"""Whether a document is as its closed schema says, with what may be repeated from known values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fedproc.contract.tool.closed_schema import LONG
from fedproc.site.policy.engine.known import Known

if TYPE_CHECKING:  # loaded with the first document: a host without work does without
    from jsonschema.exceptions import ValidationError


def difference_of(document: Any, schema: dict[str, Any], known: Known) -> str | None:
    """Where in ``schema`` it says what the document is not; empty for a control character; None if it is so."""
    if any(_is_odd(text) for text in _texts(document)):
        return ""
    from referencing import Registry

    errors: Iterator[ValidationError] = _validator(known)(schema, registry=Registry()).iter_errors(document)
    first = next(errors, None)
    return None if first is None else "/".join(map(str, first.absolute_schema_path))


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
            yield ValidationError("is not among the known values")

    # a known value may be one of the other ways by chance, as a category "1" beside enum ["0", "1"]: each way admits it
    own = {"x-from": from_known, "pattern": _pattern, "oneOf": Draft202012Validator.VALIDATORS["anyOf"]}
    return validators.extend(Draft202012Validator, own)  # type: ignore[no-untyped-call]


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """A long text is not even tried: whoever wrote the pattern may have meant it to take for ever."""
    from jsonschema.exceptions import ValidationError

    if isinstance(value, str) and (len(value) > LONG or not re.search(pattern, value)):
        yield ValidationError("does not match")
