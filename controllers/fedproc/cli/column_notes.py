"""What is said before an experiment runs over datasets whose descriptions of the columns that it uses differ."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fedproc.cli.comparison import differences
from fedproc.cli.show import notice
from fedproc.client.api import Client
from fedproc.common.errors import FedprocError
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.tool.columns import named_columns

_MOST = 50
"""datasets that are asked for"""


def tell_differences(client: Client, request: ExperimentRequest) -> None:
    """Say of the columns that the parameters name where the chosen datasets differ; nothing is stopped by it."""
    if not 1 < len(request.datasets) <= _MOST:
        return
    with suppress(FedprocError):  # whatever is wrong with the request, its submission says
        names = _named(client.tool(request.tool, request.version).parameters, request)
        found = {name: client.dataset(name) for name in request.datasets} if names else {}
        described = {name: detail.columns for name, detail in found.items() if detail.columns and detail.complete}
        for each in differences(described, names):
            notice(f"note: {each.line()}")


def _named(schema: Mapping[str, Any], request: ExperimentRequest) -> set[str]:
    """The columns that its parameters name for any host; where one is not given, its default."""
    properties = schema.get("properties", {})
    usual = {name: entry["default"] for name, entry in properties.items() if "default" in entry}
    given = [{**usual, **request.parameters, **own} for own in ({}, *request.host_parameters.values())]
    return {column.name for values in given for column in named_columns(schema, values)}
