"""What pydantic finds wrong, as lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_Loc = tuple[int | str, ...]


def lines_of(error: ValidationError) -> list[str]:
    """One line for each fault: where it is, and what is wrong."""
    return [
        f"{'.'.join(map(str, entry['loc']))}: {entry['msg'].removeprefix('Value error, ')}"
        for entry in error.errors(include_url=False, include_input=False)
    ]


def explain(error: ValidationError, model: type[BaseModel], values: Any) -> list[str]:
    """The same for who wrote ``values`` by hand, to be a ``model``: entries by what they name, keys by the nearest."""
    found = error.errors(include_url=False, include_input=False)
    return [f"{_place(entry['loc'], values)}: {_text(entry, model)}" for entry in found]


def _place(loc: _Loc, values: Any) -> str:
    """The way to it; an entry of a list is named by its number, from 1, and by the id or the task that it names."""
    steps: list[str] = []
    for step in loc:
        values = _entry(values, step)
        if isinstance(step, int):
            name = (values.get("id") or values.get("task")) if isinstance(values, Mapping) else None
            steps[-1] += f" no. {step + 1}" + (f" ({name})" if name else "")
        elif step != "[key]":
            steps.append(step)
    return ".".join(steps)


def _entry(values: Any, step: int | str) -> Any:
    if isinstance(step, int):
        return values[step] if isinstance(values, list) and step < len(values) else None
    return values.get(step) if isinstance(values, Mapping) else None


def _text(entry: ErrorDetails, model: type[BaseModel]) -> str:
    if entry["type"] == "missing":
        return "is missing"
    if entry["type"] != "extra_forbidden":
        return entry["msg"].removeprefix("Value error, ")
    *above, name = entry["loc"]
    keys = known_keys(model, above)
    near = "".join(f"; did you mean {key}?" for key in get_close_matches(str(name), keys, 1))
    return f"there is no such key{near or ';'} known are: {', '.join(keys)}"


def known_keys(model: Any, loc: Sequence[int | str]) -> list[str]:
    """The keys that a model has where ``loc`` leads to."""
    for step in loc:
        kind = _without_none(model)
        fields = kind.model_fields if _is_model(kind) else {}
        model = fields[str(step)].annotation if step in fields else next(reversed(_arguments(kind)), None)
    kind = _without_none(model)
    return sorted(kind.model_fields) if _is_model(kind) else []


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _without_none(kind: Any) -> Any:
    return next(iter(_arguments(kind))) if get_origin(kind) in (Union, UnionType) else kind


def _arguments(kind: Any) -> list[Any]:
    return [argument for argument in get_args(kind) if argument not in (type(None), Ellipsis)]
