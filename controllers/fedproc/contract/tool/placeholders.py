"""Placeholders of a tool's commands and environment: what a host fills in."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = r"(?:parameter\.[A-Za-z0-9_.-]+|[a-z_]+(?:\.[a-z0-9_-]+)*)"
_USE = re.compile(rf"\{{\{{({_NAME})\}}\}}|\{{({_NAME})\}}")
"""``{name}``; the same in two pairs of braces is the text ``{name}``. Every other brace is as it is."""


def placeholders_in(text: str) -> set[str]:
    """The names of the placeholders in a command or an environment value."""
    return {found[2] for found in _USE.finditer(text) if found[2]}


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values in place of placeholders, once: what a value holds is never looked into.

    A parameter that was not given and has no default is the empty text. Raises KeyError for any other without a value.
    """

    def value(found: re.Match[str]) -> str:
        if found[1]:
            return f"{{{found[1]}}}"
        name = found[2]
        return values.get(name, "") if name.startswith("parameter.") else values[name]

    return _USE.sub(value, text)


HOST_PLACEHOLDERS: dict[str, str] = {
    "python": "interpreter of the task's environment",
    "source": "read-only folder with the tool's source",
    "input": "read-only folder of the inputs: one sub-folder per declared input",
    "output": "folder in which the declared outputs are written",
    "work": "the job's writable folder, also its working directory",
    "parameters": "path of a JSON file with the resolved parameters of this host",
    "metrics": "path of a file to which the tool may append JSON lines; the metrics that it declares are shown",
    "host": "id of the host that runs the job",
    "job": "id of the job",
    "experiment": "id of the experiment",
    "hosts": "path of a JSON file: the experiment's hosts by task",
}
"""The local variables that a host fills in, with what each is (``GET /tools/tasks`` shows them)."""


HOST_PLACEHOLDER_FAMILIES: dict[str, str] = {
    "connection.NAME.address": "host:port at which the task finds its peer",
    "connection.NAME.host": "host name of that address",
    "connection.NAME.port": "port of that address",
    "port.NAME": "number of the task's own declared port",
    "parameter.NAME": "one resolved parameter as text; empty if it was not given and has no default",
}
