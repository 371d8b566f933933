"""Records to JSON and back. What comes back is checked field by field: a report may come from anywhere."""

from __future__ import annotations

import dataclasses
import types
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from fedproc.onboarding.model.facts import Unknown

T = TypeVar("T")
LONGEST_TEXT = 4000
LONGEST_LIST = 1000


def encode(record: Any) -> Any:
    """Plain JSON values (dict, list, str, int, float, bool, None) of a record."""
    if dataclasses.is_dataclass(record):
        return {f.name: encode(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, tuple | list):
        return [encode(item) for item in record]
    if isinstance(record, Enum):
        return record.value
    return record


def decode(cls: type[T], data: Any) -> T:
    """A record of ``cls`` from JSON values. Unknown keys are ignored (newer writers).

    Raises :class:`ValueError` that names the field: missing, of a wrong type, or too long.
    """
    record: T = _record(cls, data, cls.__name__)
    return record


def _record(cls: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{where}: expected an object, found {type(data).__name__}")  # noqa: TRY004 - bad data
    values = {}
    for field in dataclasses.fields(cls):
        if field.name in data:
            values[field.name] = _value(_hints(cls)[field.name], data[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING:
            raise ValueError(f"{where}.{field.name}: missing")
    return cls(**values)


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


def _value(hint: Any, data: Any, where: str) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return _union(get_args(hint), data, where)
    if get_origin(hint) is tuple:
        return _items(get_args(hint)[0], data, where)
    if dataclasses.is_dataclass(hint):
        return _record(hint, data, where)
    return _scalar(hint, data, where)


def _union(choices: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and types.NoneType in choices:
        return None
    if Unknown in choices and isinstance(data, dict) and set(data) == {"unknown"}:
        return _record(Unknown, data, where)
    return _value(next(c for c in choices if c not in (types.NoneType, Unknown)), data, where)


def _items(hint: Any, data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list | tuple) or len(data) > LONGEST_LIST:
        raise ValueError(f"{where}: expected a list of at most {LONGEST_LIST} items")
    return tuple(_value(hint, item, f"{where}[{n}]") for n, item in enumerate(data))


def _scalar(hint: Any, data: Any, where: str) -> Any:
    if issubclass(hint, Enum):
        return _choice(hint, data, where)
    right = isinstance(data, hint) or (hint is float and isinstance(data, int))
    if not right or (isinstance(data, bool) and hint is not bool):
        raise ValueError(f"{where}: expected {hint.__name__}, found {type(data).__name__}")
    if isinstance(data, str) and len(data) > LONGEST_TEXT:
        raise ValueError(f"{where}: longer than {LONGEST_TEXT} characters")
    return data


def _choice(hint: type[Enum], data: Any, where: str) -> Enum:
    try:
        return hint(data)
    except ValueError:
        raise ValueError(f"{where}: expected one of {', '.join(str(c.value) for c in hint)}") from None
