"""Files that a researcher sends with an experiment (``fedproc run --input NAME=FILE``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedproc.cli.finding import nearest
from fedproc.client.api import Client
from fedproc.common.errors import InvalidInputError
from fedproc.common.text import did_you_mean
from fedproc.contract.api.experiments import ExperimentRequest, ExperimentView
from fedproc.contract.api.tools import TaskView


def check(client: Client, request: ExperimentRequest, files: Mapping[str, Path]) -> None:
    """Whether the tool takes these files, before anything starts.

    Raises :class:`InvalidInputError` that says which files it takes, and what is no file but data.
    """
    if not files:
        return
    with nearest(client, "tool", request.tool):
        tasks = client.tasks(request.tool, request.version)
    uploads = _named(tasks, "upload")
    problems = [_fault(name, uploads, _named(tasks, "dataset")) for name in files if name not in uploads]
    if problems:
        takes = f"takes the files {', '.join(uploads)}" if uploads else "takes no files"
        raise InvalidInputError("\n".join([f"nothing was started: {request.tool} {takes}", *problems]))


def _fault(name: str, uploads: Mapping[str, None], datasets: Mapping[str, None]) -> str:
    if name in datasets:
        return f"--input {name}: that is data at the hosts: name it by --data HOST:ID (fedproc data)"
    return f"--input {name}: there is no such file{did_you_mean(name, uploads) or '; leave it away'}"


def send(client: Client, experiment: ExperimentView, files: Mapping[str, Path]) -> None:
    """Send each file to every job that takes it."""
    if not files:
        return
    takes = {task.name: _named([task], "upload") for task in client.tasks(experiment.tool, experiment.version)}
    for job in experiment.jobs:
        for name in files.keys() & takes.get(job.task, {}).keys():
            client.put_input(job.id, name, files[name])


def _named(tasks: list[TaskView], kind: str) -> dict[str, None]:
    """Names of the inputs of a kind, each once, in their order."""
    return {entry["name"]: None for task in tasks for entry in task.inputs if entry["kind"] == kind}
