"""A tool's parameters: defaults filled in, checked by its JSON Schema, merged for each host."""

from __future__ import annotations

import copy
import json
import shlex
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from jsonschema.exceptions import ValidationError
from referencing.exceptions import Unresolvable

from fedproc.common.text import did_you_mean
from fedproc.contract.tool import json_schema
from fedproc.contract.tool.tool import Tool
from fedproc.contract.tool.values import expected, is_valid, short, shown_example
from fedproc.contract.wire.jws import canonical

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

FieldError = dict[str, str]
"""One fault of a request: ``where`` it is, ``what`` is wrong, and ``cure``."""

_MOST_FAULTS = 50
_EXACT = 2**53
"""below it a float is one whole number and no other"""
MAX_BYTES = 65_536
"""of one job's parameters as JSON: they are written once per host, travel in its order, and stay in the database"""
_OF_THE_VALUE = frozenset({
    "type", "enum", "const", "anyOf", "oneOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "minLength", "maxLength", "pattern", "format", "minItems", "maxItems",
})  # fmt: skip
"""keywords of which :func:`expected` tells all"""
_OF_THE_NAMES = frozenset({"required", "additionalProperties", "unevaluatedProperties"})


def field_error(where: str, what: str, cure: str) -> FieldError:
    return {"where": where, "what": what, "cure": cure}


class Parameters:
    """The parameters of one request for one tool: those for every host, and those that differ by host."""

    def __init__(self, tool: Tool, everywhere: dict[str, Any], by_host: Mapping[str, dict[str, Any]]) -> None:
        self._tool = tool.id
        self._schema = tool.parameters
        self._may_differ = tool.host_parameters()
        self._everywhere = _whole_numbers(everywhere)
        self._by_host = {host: _whole_numbers(values) for host, values in by_host.items()}
        self._checked: dict[bytes, list[FieldError]] = {}
        self._common: dict[bool, list[FieldError]] = {}

    @cached_property
    def everywhere(self) -> dict[str, Any]:
        """What was given for all hosts, with defaults."""
        return self._with_defaults(self._everywhere)

    def of(self, host: str) -> dict[str, Any]:
        """What a job on ``host`` gets, with defaults; the same object for all hosts that have nothing of their own."""
        own = self._by_host.get(host)
        return self._with_defaults({**self._everywhere, **own}) if own else self.everywhere

    def _with_defaults(self, values: dict[str, Any]) -> dict[str, Any]:
        return _with_defaults(self._schema, values, self._schema)

    def field_errors(self, host: str, *, chosen: bool) -> list[FieldError]:
        """What is wrong with the parameters of ``host``.

        A host that the user did not choose (the aggregator) need not be given parameters that differ by host.
        """
        own = self._by_host.get(host, {})
        misplaced = [self._misplaced(host, name) for name in own if name not in self._may_differ]
        place = f"host_parameters.{host}" if own else "parameters"
        return misplaced + [{**each, "where": place + each["where"]} for each in self._check(host, chosen)]

    def _check(self, host: str, chosen: bool) -> list[FieldError]:
        merged = self.of(host)
        if merged is not self.everywhere:
            return self._check_values(merged, chosen)
        if chosen not in self._common:
            self._common[chosen] = self._check_values(merged, chosen)
        return self._common[chosen]

    def _check_values(self, merged: dict[str, Any], chosen: bool) -> list[FieldError]:
        key = canonical([merged, chosen])
        if len(key) > MAX_BYTES:
            what = f"a job's parameters may have {MAX_BYTES} bytes as JSON; these have {len(key)}"
            return [field_error("", what, "send larger input as a file (--input NAME=FILE)")]
        if key not in self._checked:
            self._checked[key] = list(self._errors(merged, frozenset() if chosen else self._may_differ))
        return self._checked[key]

    def _misplaced(self, host: str, name: str) -> FieldError:
        may = ", ".join(sorted(self._may_differ)) or "none"
        known = name in self._schema.get("properties", {})
        what = (
            f"{name!r} is no parameter that may differ by host{'' if known else did_you_mean(name, self._may_differ)}"
        )
        cure = f"give it for all hosts; those that may differ by host: {may}"
        return field_error(f"host_parameters.{host}.{name}", what, cure if known else self._see())

    def _see(self) -> str:
        return f"fedproc tools show {self._tool} shows its parameters"

    def _errors(self, values: dict[str, Any], optional: frozenset[str]) -> Iterator[FieldError]:
        schema = self._schema
        if optional:
            schema = {**schema, "required": [name for name in schema.get("required", []) if name not in optional]}
        found = _validator(canonical(schema)).iter_errors(values)
        try:
            for entry in islice(found, _MOST_FAULTS):
                yield from self._told(entry)
        except Unresolvable as error:
            what = f"the tool's own schema refers to {error.ref!r}, which is not in it"
            yield field_error("", what, "tell the tool's provider")

    def _told(self, error: ValidationError) -> Iterator[FieldError]:
        """One fault of jsonschema's as what is wrong and what a valid value looks like; several for several names."""
        where, keyword = "".join(f".{part}" for part in error.absolute_path), error.validator
        schema = _mapping(error.schema)
        inner = _mapping(schema.get("properties"))
        if keyword == "required":
            name = next(name for name in schema["required"] if error.message == f"{name!r} is a required property")
            yield self._missing(where, name, inner.get(name, {}))
        elif keyword in {"additionalProperties", "unevaluatedProperties"}:
            for name in sorted(_mapping(error.instance).keys() - inner.keys()):
                near = did_you_mean(name, inner) or ";"
                what = f"there is no parameter {name!r}{near} there are {', '.join(inner) or 'none'}"
                yield field_error(f"{where}.{name}", what, self._see())
        elif keyword in {"anyOf", "oneOf"} and (inside := _within_one_way(error)):
            for problem in inside:
                yield from ({**each, "cure": self._cure(where, error.schema)} for each in self._told(problem))
        elif keyword in _OF_THE_VALUE:
            yield self._wrong(where, error)
        else:
            yield field_error(where, error.message[:300], self._see())

    def _missing(self, where: str, name: str, schema: Any) -> FieldError:
        what = f"{name!r} is missing: {expected(schema, self._schema)}"
        return field_error(where, what, self._cure(f"{where}.{name}", schema))

    def _wrong(self, where: str, error: ValidationError) -> FieldError:
        what = f"must be {expected(error.schema, self._schema)}, and is {short(error.instance)}"
        return field_error(where, what, self._cure(where, error.schema))

    def _cure(self, where: str, schema: Any) -> str:
        """An example as one types it, for a parameter as a whole."""
        name, value = where.lstrip("."), shown_example(schema, self._schema)
        if not value or "." in name:
            return self._see()
        return f"for example {shlex.quote(f'{name}={value}')}; {self._see()}"


def _within_one_way(error: ValidationError) -> list[ValidationError]:
    """What is wrong with the one of several ways that the value is meant as: the only one that has the names that are
    given, and something inside that is not as it must be. Empty if there is none, or more than one."""
    ways: dict[Any, list[ValidationError]] = {}
    for problem in error.context or ():
        ways.setdefault(problem.relative_schema_path[0], []).append(problem)
    meant = [problems for problems in ways.values() if all(map(_is_inside, problems))]
    return meant[0] if len(meant) == 1 else []


def _is_inside(error: ValidationError) -> bool:
    return bool(error.relative_path) or error.validator not in _OF_THE_VALUE | _OF_THE_NAMES


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Draft202012Validator:
    return json_schema.validator(json.loads(schema))


def _whole_numbers(value: Any) -> Any:
    """``10.0`` is the whole number 10 to a JSON Schema, so it is to every tool: written as 10, whoever typed it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    if isinstance(value, dict):
        return {name: _whole_numbers(inner) for name, inner in value.items()}
    return [_whole_numbers(entry) for entry in value] if isinstance(value, list) else value


def _with_defaults(schema: dict[str, Any], values: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """``values`` with the defaults of the properties that are left out, also inside objects that are given.

    A default of null where null is no valid value says that there is none.
    """
    filled = dict(values)
    for name, inner in schema.get("properties", {}).items():
        if not isinstance(inner, dict):
            continue
        if name not in filled and "default" in inner and (inner["default"] is not None or is_valid(None, inner, root)):
            filled[name] = _whole_numbers(copy.deepcopy(inner["default"]))
        elif isinstance(filled.get(name), dict):
            filled[name] = _with_defaults(inner, filled[name], root)
    return filled
