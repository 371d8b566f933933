"""``fedproc run``, ``experiments`` and ``results``."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from fedproc.cli import arguments
from fedproc.cli.follow import follow
from fedproc.cli.show import AsJson, as_json, clock, coloured, console, errors, size, table
from fedproc.client.api import Client
from fedproc.client.results import fetch_results, places
from fedproc.client.session import signed_in
from fedproc.common.errors import InvalidInputError
from fedproc.common.validation import lines_of
from fedproc.contract.api.experiments import ExperimentRequest, ExperimentView

NOT_SUCCEEDED = 3
_INTERRUPTED = 130

experiments = typer.Typer(help="Your experiments.", invoke_without_command=True)
Results = Annotated[Path | None, typer.Option("--to", help="folder for the results; nothing is fetched without it")]
Logs = Annotated[bool, typer.Option("--logs", help="also show log lines, as far as the hosts let them out")]


def run(
    tool: Annotated[str, typer.Argument(help="the tool's id (fedproc tools)")],
    host: Annotated[list[str] | None, typer.Option(help="a host to run at; repeat it")] = None,
    data: Annotated[list[str] | None, typer.Option(help="a dataset, HOST:ID; repeat it (fedproc data)")] = None,
    parameter: Annotated[list[str] | None, typer.Option("-p", "--parameter", help="NAME=VALUE; repeat it")] = None,
    parameters: Annotated[Path | None, typer.Option(help="file with parameters, a JSON object")] = None,
    host_parameter: Annotated[list[str] | None, typer.Option(help="HOST.NAME=VALUE; repeat it")] = None,
    upload: Annotated[list[str] | None, typer.Option("--input", help="NAME=FILE, for tasks that take it")] = None,
    version: Annotated[str | None, typer.Option(help="of the tool; the newest unless given")] = None,
    label: Annotated[str | None, typer.Option(help="a name for you to find it by")] = None,
    purpose: Annotated[str | None, typer.Option(help="why, for the hosts' records")] = None,
    lost_after: Annotated[int | None, typer.Option(help="seconds of silence, then a host counts as lost")] = None,
    to: Results = None,
    logs: Logs = False,
    wait: Annotated[bool, typer.Option(help="follow it until it ends")] = True,
    json: AsJson = False,
) -> None:
    """Run a tool at hosts, or where datasets are, and follow it to its end.

    Exit codes: 0 succeeded (or started, with --no-wait), 3 ended otherwise, 1 an error, 130 interrupted.
    """
    files = arguments.files(upload or [])
    values = {
        "tool": tool, "version": version, "hosts": host or [], "datasets": data or [], "label": label,
        "purpose": purpose, "lost_after": lost_after, "parameters": arguments.parameters(parameters, parameter or []),
        "host_parameters": arguments.host_parameters(host_parameter or []),
    }  # fmt: skip
    with signed_in() as client:
        experiment = client.run(_checked(values), key=str(uuid.uuid4()))
        _upload(client, experiment, files)
        if not json:
            console.print(f"experiment [bold]{experiment.id}[/]")
        if wait:
            _follow(client, experiment.id, to, logs=logs, json=json)
        elif json:
            as_json(experiment)


def _checked(values: Mapping[str, object]) -> ExperimentRequest:
    try:
        return ExperimentRequest.model_validate(values)
    except ValidationError as error:
        raise InvalidInputError("; ".join(lines_of(error))) from error


def _upload(client: Client, experiment: ExperimentView, files: dict[str, Path]) -> None:
    if not files:
        return
    takes = {
        task.name: {entry["name"] for entry in task.inputs if entry["kind"] == "upload"}
        for task in client.tasks()
        if (task.tool, task.version) == (experiment.tool, experiment.version)
    }
    wanted = set().union(*takes.values()) if takes else set()
    if unknown := set(files) - wanted:
        client.cancel(experiment.id)
        raise InvalidInputError(f"no task takes the input {', '.join(unknown)}; uploads: {', '.join(wanted) or 'none'}")
    for job in experiment.jobs:
        for name in takes.get(job.task, set()) & set(files):
            client.put_input(job.id, name, files[name])


def _follow(client: Client, experiment: str, to: Path | None, *, logs: bool, json: bool) -> None:
    try:
        state = _until_end(client, experiment, logs=logs, json=json)
    except KeyboardInterrupt:
        _interrupted(client, experiment)
        raise typer.Exit(_INTERRUPTED) from None
    if to is not None and state == "succeeded":
        fetch_results(client, experiment, to)
        errors.print(f"results are in [bold]{to}[/]")
    elif not json:
        hint = "results {} --to FOLDER" if state == "succeeded" else "experiments logs {}"
        console.print(f"{coloured(state)}; next: fedproc {hint.format(experiment)}")
    if state != "succeeded":
        raise typer.Exit(NOT_SUCCEEDED)


def _until_end(client: Client, experiment: str, *, logs: bool, json: bool) -> str:
    if not json:
        return follow(client.events(experiment), console, logs=logs)
    for event in client.events(experiment):
        sys.stdout.write(event.model_dump_json(exclude_none=True) + "\n")
        sys.stdout.flush()
    return str(client.experiment(experiment).state)


def _interrupted(client: Client, experiment: str) -> None:
    """The experiment goes on at the hosts when nobody looks; only a person says that it shall not."""
    if sys.stdin.isatty() and typer.confirm(f"\n{experiment} goes on at the hosts. Cancel it?", default=False):
        client.cancel(experiment)
        errors.print(f"cancelling; fedproc experiments show {experiment} shows how it ends")
    else:
        errors.print(f"{experiment} goes on; fedproc experiments follow {experiment} shows it again,")
        errors.print(f"fedproc experiments cancel {experiment} ends it")


@experiments.callback()
def _experiments(context: typer.Context, json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_experiments(json=json)


@experiments.command("list")
def list_experiments(
    state: Annotated[str | None, typer.Option(help="only those in this state")] = None,
    label: Annotated[str | None, typer.Option(help="only those with this label")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="how many")] = 20,
    json: AsJson = False,
) -> None:
    """Your experiments, newest first."""
    with signed_in() as client:
        found = client.experiments(state=state, label=label, limit=limit)
    if json:
        return as_json(found.items)
    rows = [
        (entry.id, f"{entry.tool} {entry.version}", coloured(entry.state), clock(entry.created), entry.label or "")
        for entry in found.items
    ]
    table(("experiment", "tool", "state", "since", "label"), rows, none="no experiment; fedproc run starts one")


@experiments.command("show")
def show(experiment: str, json: AsJson = False) -> None:
    """One experiment with its jobs."""
    with signed_in() as client:
        found = client.experiment(experiment)
    if json:
        return as_json(found)
    console.print(f"[bold]{found.id}[/]  {found.tool} {found.version}  {coloured(found.state)}  {found.label or ''}")
    rows = [
        (job.id, f"{job.task}@{job.host}", coloured(job.state), _why(job.reason, job.waiting_for, job.unreachable))
        for job in found.jobs
    ]
    table(("job", "task", "state", ""), rows, none="it has no jobs yet")


def _why(reason: str | None, waiting_for: str | None, unreachable: bool) -> str:
    text = reason or (f"waits for {waiting_for}" if waiting_for else "")
    return f"{text} [red]host unreachable[/]".strip() if unreachable else text


@experiments.command("follow")
def follow_one(experiment: str, to: Results = None, logs: Logs = False, json: AsJson = False) -> None:
    """Follow an experiment from its beginning to its end."""
    with signed_in() as client:
        _follow(client, experiment, to, logs=logs, json=json)


@experiments.command("cancel")
def cancel(experiment: str, json: AsJson = False) -> None:
    """Ask the hosts to end it."""
    with signed_in() as client:
        found = client.cancel(experiment)
    as_json(found) if json else console.print(f"{experiment} is {coloured(found.state)}; the hosts are told to end it")


@experiments.command("lost")
def lost(
    experiment: str,
    reason: Annotated[str, typer.Option(help="why, for its user and the audit")],
    job: Annotated[list[str] | None, typer.Option(help="this job alone; repeat it")] = None,
    json: AsJson = False,
) -> None:
    """As an operator, end jobs whose host will not come back: all open ones, unless some are named."""
    with signed_in() as client:
        found = client.lost(experiment, reason, job or [])
    as_json(found) if json else console.print(f"{experiment} is {coloured(found.state)}")


@experiments.command("logs")
def show_logs(experiment: str, json: AsJson = False) -> None:
    """What its jobs printed, as far as the hosts let it out."""
    with signed_in() as client:
        found = client.logs(experiment)
    if json:
        return as_json(found)
    for entry in found:
        for line in entry.lines:
            console.print(f"{entry.task}@{entry.host} | {line}", markup=False)
    if not found:
        errors.print("no line: nothing was printed, or the hosts' policies keep logs inside")


@experiments.command("report")
def report(experiment: str, json: AsJson = False) -> None:
    """What ran where, with what, and how it ended."""
    with signed_in() as client:
        found = client.report(experiment)
    if json:
        return as_json(found)
    console.print(f"[bold]{found.experiment}[/]  {found.tool} {found.version}  {found.digest}")
    rows = [
        (f"{job.task}@{job.host}", coloured(job.state), job.exit_code, job.executor, _number(job.seconds, "s"),
         _number(job.cpu_seconds, "s"), size(job.memory_peak))
        for job in found.jobs
    ]  # fmt: skip
    table(("task", "state", "exit code", "executor", "time", "CPU", "memory"), rows, none="it has no jobs yet")


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.2f} {unit}"


def results(
    experiment: str,
    to: Results = None,
    json: AsJson = False,
) -> None:
    """The results of an experiment: list them, or fetch them with --to."""
    with signed_in() as client:
        found = client.results(experiment)
        if to is not None:
            fetched = fetch_results(client, experiment, to)
            errors.print(f"{len(fetched)} files are in [bold]{to}[/]")
    if json:
        return as_json(found)
    rows = [
        (str(place), size(entry.size), entry.media_type, entry.sha256)
        for entry, place in zip(found, places(found), strict=True)
    ]
    table(("file", "size", "type", "sha256"), rows, none="no results (yet): fedproc experiments show says why")


def mount(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(run)
    app.add_typer(experiments, name="experiments")
    app.command()(results)
