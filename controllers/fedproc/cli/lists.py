"""Lists on the command line as people write them, ``times=0,6,12``, by what the tool's schema wants."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fedproc.client.api import Client
from fedproc.common.errors import FedprocError
from fedproc.contract.tool.lists import fitted

Values = Mapping[str, Any]


def with_lists(
    client: Client, tool: str, version: str | None, parameters: Values, by_host: Mapping[str, Values]
) -> tuple[Values, Mapping[str, Values]]:
    """The parameters, and those by host, with lists where texts or numbers were given and the tool wants lists.

    As they are where the tool is not known: that its submission says.
    """
    if not any(
        isinstance(value, str | int | float) for own in (parameters, *by_host.values()) for value in own.values()
    ):
        return parameters, by_host
    with suppress(FedprocError):
        schema = client.tool(tool, version).parameters
        return _fitted(schema, parameters), {host: _fitted(schema, own) for host, own in by_host.items()}
    return parameters, by_host


def _fitted(schema: Values, values: Values) -> dict[str, Any]:
    known = schema.get("properties", {})
    return {name: fitted(known.get(name), schema, value) for name, value in values.items()}
