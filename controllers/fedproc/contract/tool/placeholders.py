"""Placeholders of a tool's commands and environment: what a host fills in."""

from __future__ import annotations

import re

PLACEHOLDER = re.compile(r"\{([a-z_]+(?:\.[a-z0-9_-]+)*)\}")
"""How a placeholder looks inside a command or an environment value."""


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
    "parameter.NAME": "one resolved parameter as text",
}
