"""A tool's parameters: defaults filled in, checked by its JSON Schema, merged for each host."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from fedproc.contract.tool.tool import Tool
from fedproc.contract.wire.jws import canonical

FieldError = dict[str, str]
"""One fault of a request: ``where`` it is, ``what`` is wrong, and ``cure``."""

_MOST_FAULTS = 50
MAX_BYTES = 65_536
"""of one job's parameters as JSON: they are written once per host, travel in its order, and stay in the database"""


def field_error(where: str, what: str, cure: str) -> FieldError:
    return {"where": where, "what": what, "cure": cure}


class Parameters:
    """The parameters of one request for one tool: those for every host, and those that differ by host."""

    def __init__(self, tool: Tool, everywhere: dict[str, Any], by_host: Mapping[str, dict[str, Any]]) -> None:
        self._schema = tool.parameters
        self._may_differ = tool.host_parameters()
        self._everywhere = everywhere
        self._by_host = by_host
        self._checked: dict[bytes, list[tuple[str, str]]] = {}
        self._common: dict[bool, list[tuple[str, str]]] = {}

    @cached_property
    def everywhere(self) -> dict[str, Any]:
        """What was given for all hosts, with defaults."""
        return _with_defaults(self._schema, self._everywhere)

    def of(self, host: str) -> dict[str, Any]:
        """What a job on ``host`` gets, with defaults; the same object for all hosts that have nothing of their own."""
        own = self._by_host.get(host)
        return _with_defaults(self._schema, {**self._everywhere, **own}) if own else self.everywhere

    def field_errors(self, host: str, *, chosen: bool) -> list[FieldError]:
        """What is wrong with the parameters of ``host``.

        A host that the user did not choose (the aggregator) need not be given parameters that differ by host.
        """
        own = self._by_host.get(host, {})
        misplaced = [self._misplaced(host, name) for name in own if name not in self._may_differ]
        place = f"host_parameters.{host}" if own else "parameters"
        cure = "GET /tools/{tool_id} shows the schema of its parameters; send larger input as a file"
        return misplaced + [field_error(place + where, what, cure) for where, what in self._check(host, chosen)]

    def _check(self, host: str, chosen: bool) -> list[tuple[str, str]]:
        merged = self.of(host)
        if merged is not self.everywhere:
            return self._check_values(merged, chosen)
        if chosen not in self._common:
            self._common[chosen] = self._check_values(merged, chosen)
        return self._common[chosen]

    def _check_values(self, merged: dict[str, Any], chosen: bool) -> list[tuple[str, str]]:
        key = canonical([merged, chosen])
        if len(key) > MAX_BYTES:
            return [("", f"a job's parameters may have {MAX_BYTES} bytes as JSON; these have {len(key)}")]
        if key not in self._checked:
            self._checked[key] = _errors(self._schema, merged, frozenset() if chosen else self._may_differ)
        return self._checked[key]

    def _misplaced(self, host: str, name: str) -> FieldError:
        may = ", ".join(sorted(self._may_differ)) or "none"
        return field_error(
            f"host_parameters.{host}.{name}",
            f"{name!r} is no parameter that may differ by host",
            f"give it in parameters; those that may differ by host: {may}",
        )


def _errors(schema: dict[str, Any], values: dict[str, Any], optional: frozenset[str]) -> list[tuple[str, str]]:
    if optional:
        schema = {**schema, "required": [name for name in schema.get("required", []) if name not in optional]}
    found = _validator(canonical(schema)).iter_errors(values)
    try:
        return [(_where(entry), entry.message[:300]) for entry in islice(found, _MOST_FAULTS)]
    except Unresolvable as error:
        return [("", f"the tool's own schema refers to {error.ref!r}, which is not in it: tell the tool's provider")]


def _where(error: ValidationError) -> str:
    return "".join(f".{part}" for part in error.absolute_path)


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Draft202012Validator:
    """A schema may refer to itself only: with an empty registry nothing is fetched from anywhere."""
    return Draft202012Validator(json.loads(schema), registry=Registry())


def _with_defaults(schema: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """``values`` with the defaults of the properties that are left out, also inside objects that are given."""
    filled = dict(values)
    for name, inner in schema.get("properties", {}).items():
        if not isinstance(inner, dict):
            continue
        if name not in filled and "default" in inner:
            filled[name] = copy.deepcopy(inner["default"])
        elif isinstance(filled.get(name), dict):
            filled[name] = _with_defaults(inner, filled[name])
    return filled
