"""What is said before a run whose results are encrypted to its user: what stays in plain all the same."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from fedproc.cli.show import notice
from fedproc.client.api import Client
from fedproc.common.errors import FedprocError
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.api.tools import TaskView

ALWAYS = "parameters, states and reasons, metrics, log lines, and names, sizes and hashes of files"
"""what the centre reads of every experiment"""


def tell_what_stays_plain(client: Client, request: ExperimentRequest) -> None:
    """Say it on stderr; nothing where no key is given."""
    if request.encrypt_to is None:
        return
    notice("each site encrypts the result files that it releases to your key; the centre cannot read what is in them")
    notice(f"in plain, and read by the centre: {ALWAYS}")
    with suppress(FedprocError):  # a tool that there is not, its submission names
        if given := outputs_in_plain(client.tasks(request.tool, request.version)):
            notice(f"in plain, too, as another task of {request.tool} reads it: {', '.join(given)}")


def outputs_in_plain(tasks: Iterable[TaskView]) -> list[str]:
    """``TASK.OUTPUT`` of all that one task of a tool gives to another through the centre."""
    known = list(tasks)
    read = {(each["task"], each.get("output")) for task in known for each in task.inputs if each["kind"] == "output"}
    return [
        f"{task.name}.{output['name']}"
        for task in known
        for output in task.outputs
        if {(task.name, None), (task.name, output["name"])} & read
    ]
