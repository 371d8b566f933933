"""``fedproc experiments`` and ``results``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedproc.cli.finding import Experiment, experiment_id
from fedproc.cli.run import Results, fetch, follow_one, leave, outcome
from fedproc.cli.show import (
    AsJson,
    agreed,
    as_json,
    bold,
    check_can_ask,
    clock,
    coloured,
    line,
    notice,
    say,
    say_terms,
    size,
    styled,
    table,
)
from fedproc.client.crypt4gh_keys import read_private
from fedproc.client.results import check_folder, places
from fedproc.client.session import signed_in
from fedproc.common.errors import ConflictError, InvalidInputError
from fedproc.common.files import write_atomically
from fedproc.contract.api.experiments import JobView
from fedproc.contract.wire.release import PARTLY_RELEASED

experiments = typer.Typer(help="Your experiments.", invoke_without_command=True)


@experiments.callback()
def _experiments(context: typer.Context, json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_experiments(json=json)


@experiments.command("list")
def list_experiments(
    state: Annotated[str | None, typer.Option(help="only those in this state")] = None,
    label: Annotated[str | None, typer.Option(help="only those with this label")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="how many")] = 20,
    everyone: Annotated[bool, typer.Option("--all", help="everybody's (operators)")] = False,
    json: AsJson = False,
) -> None:
    """Your experiments, newest first; an operator sees everybody's with --all."""
    with signed_in(operator=everyone) as client:
        found = client.experiments(state=state, label=label, limit=limit, mine=not everyone)
    if json:
        return as_json(found.items)
    head = ("experiment", "tool", "state", "started", "label", *(("owner",) if everyone else ()))
    rows = [
        (each.id, f"{each.tool} {each.version}", outcome(each), clock(each.created), each.label or "",
         *((each.owner_name or each.owner,) if everyone else ()))
        for each in found.items
    ]  # fmt: skip
    table(head, rows, none="no experiment; fedproc run starts one")


@experiments.command("show")
def show(experiment: Experiment, json: AsJson = False) -> None:
    """One experiment with its jobs."""
    with signed_in() as client:
        found = client.experiment(experiment_id(client, experiment))
    if json:
        return as_json(found)
    say(bold(found.id), f"  {found.tool} {found.version}  ", outcome(found), f"  {found.label or ''}")
    say(f"of {found.owner_name or found.owner}; started {clock(found.created)}; ended {clock(found.ended)}")
    say_terms(found)
    if found.held:
        what = "prepared" if found.prepared else "being prepared"
        say(f"{what}, and held until {clock(found.held_until)}: ", bold(f"fedproc start {found.id}"), " starts it")
    rows = [
        (job.id, f"{job.task}@{job.host}", _stage(job), _why(job.reason, job.waiting_for, job.unreachable))
        for job in found.jobs
    ]
    table(("job", "task", "state", ""), rows, none="it has no jobs yet")
    if any(job.state == "failed" for job in found.jobs):
        notice(
            f"what a failed job said: fedproc experiments logs {found.id}; where its host lets no line out, ask its "
            "people, who find the last one in their log by the job's id"
        )


def _stage(job: JobView) -> object:
    """Its state; of one whose outputs left in part, that."""
    is_part = job.release is not None and job.release.stage == PARTLY_RELEASED
    return coloured("partly released" if is_part and job.state == "succeeded" else job.state)


def _why(reason: str | None, waiting_for: str | None, unreachable: bool) -> object:
    text = reason or (f"waits for {waiting_for}" if waiting_for else "")
    return line(text, " " if text else "", styled("host unreachable", "red")) if unreachable else text


experiments.command("follow")(follow_one)


@experiments.command("cancel")
def cancel(experiment: Experiment, json: AsJson = False) -> None:
    """Ask the hosts to end it."""
    with signed_in() as client:
        found = client.cancel(experiment_id(client, experiment))
    as_json(found) if json else say(f"{found.id} is ", coloured(found.state), "; the hosts are told to end it")


@experiments.command("delete")
def delete(
    experiment: Experiment,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    json: AsJson = False,
) -> None:
    """Delete an ended experiment with its inputs, results and events. There is no way back."""
    check_can_ask(yes=yes)
    with signed_in() as client:
        before = client.experiment(experiment_id(client, experiment))
        if before.ended is None:
            raise ConflictError(f"{before.id} has not ended; end it first: fedproc experiments cancel {before.id}")
        name = f" ({before.label})" if before.label else ""
        agreed(f"Delete {before.id}{name} of {before.tool} with its inputs and results?", yes=yes)
        found = client.delete_experiment(before.id)
    if json:
        return as_json(found)
    say(f"{found.id} is deleted: {found.jobs} jobs, {found.files} files, {size(found.bytes)}")


@experiments.command("lost")
def lost(
    experiment: Annotated[str, typer.Argument(help="its id")],
    reason: Annotated[str, typer.Option(help="why, for its user and the audit")],
    job: Annotated[list[str] | None, typer.Option(help="this job alone; repeat it")] = None,
    json: AsJson = False,
) -> None:
    """As an operator, end jobs whose host will not come back: all open ones, unless some are named."""
    with signed_in() as client:
        found = client.lost(experiment, reason, job or [])
    as_json(found) if json else say(f"{experiment} is ", coloured(found.state))


@experiments.command("logs")
def show_logs(experiment: Experiment, json: AsJson = False) -> None:
    """What its jobs printed, as far as the hosts let it out."""
    with signed_in() as client:
        found = client.logs(experiment_id(client, experiment))
    if json:
        return as_json(found)
    for entry in found:
        for each in entry.lines:
            say(f"{entry.task}@{entry.host} | {each}")
    if not found:
        notice("no line: nothing was printed, or the hosts' policies keep logs inside")


@experiments.command("report")
def report(experiment: Experiment, json: AsJson = False) -> None:
    """What ran where, with what, and how it ended."""
    with signed_in() as client:
        found = client.report(experiment_id(client, experiment))
    if json:
        return as_json(found)
    say(bold(found.experiment), f"  {found.tool} {found.version}  {found.digest}")
    rows = [
        (f"{job.task}@{job.host}", coloured(job.state), job.exit_code, job.executor, _number(job.seconds, "s"),
         _number(job.cpu_seconds, "s"), size(job.memory_peak))
        for job in found.jobs
    ]  # fmt: skip
    table(("task", "state", "exit code", "executor", "time", "CPU", "memory"), rows, none="it has no jobs yet")


@experiments.command("crate")
def crate(
    experiment: Experiment,
    to: Annotated[Path | None, typer.Option(help="the zip to write; ID.crate.zip here unless given")] = None,
) -> None:
    """Save its record as a Five Safes RO-Crate: who, why, which data, what each site decided and released."""
    with signed_in() as client:
        which = experiment_id(client, experiment)
        found = client.crate(which)
    place = to or Path(f"{which}.crate.zip")
    _save(place, found)
    say(f"{place} has the record of {which}; its results are named in it, by size and hash")


def _save(place: Path, content: bytes) -> None:
    if place.exists():
        raise InvalidInputError(f"{place} is there already: move it away, or name another file with --to")
    try:
        write_atomically(place, content)
    except OSError as error:
        raise InvalidInputError(f"{place} cannot be written: {error.strerror}; name another file with --to") from error


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.2f} {unit}"


def results(
    experiment: Experiment,
    to: Results = None,
    decrypt_with: Annotated[
        Path | None, typer.Option(help="with --to: your Crypt4GH private key, for results that are encrypted to you")
    ] = None,
    json: AsJson = False,
) -> None:
    """The results of an experiment: list them, or fetch them, and a report of the experiment, with --to.

    \b
    Exit codes with --to:
    0    fetched
    4    fetched, and it succeeded without some of its hosts
    3    it has not succeeded (yet): there may be no results, or only some
    """
    private = None if decrypt_with is None else read_private(decrypt_with, _passphrase)
    with signed_in() as client:
        view = client.experiment(experiment_id(client, experiment))
        if to is not None:
            check_folder(to, view.id)
        found = client.results(view.id)
        if to is not None:
            fetch(client, view, to, private)
    if json:
        as_json(found)
    else:
        rows = [
            (place, size(entry.size), entry.media_type, entry.sha256)
            for entry, place in zip(found, places(found), strict=True)
        ]
        table(("file", "size", "type", "sha256"), rows, none="no results (yet): fedproc experiments show says why")
    if to is not None:
        leave(view)


def _passphrase() -> str:
    return str(typer.prompt("Passphrase of the key", hide_input=True, err=True))


def mount(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(experiments, name="experiments")
    app.command()(results)
