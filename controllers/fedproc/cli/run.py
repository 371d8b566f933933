"""``fedproc run`` and ``follow``."""

from __future__ import annotations

import shlex
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from fedproc.cli import arguments, inputs, preparing
from fedproc.cli.column_notes import tell_differences
from fedproc.cli.dry_run import show_dry_run
from fedproc.cli.encrypting import ALWAYS, tell_what_stays_plain
from fedproc.cli.finding import Experiment, experiment_id, explain
from fedproc.cli.follow import follow
from fedproc.cli.lists import with_lists
from fedproc.cli.show import AsJson, as_json, bold, coloured, console, notice, one_json, say
from fedproc.client.api import Client
from fedproc.client.crypt4gh_keys import public_of, read_public
from fedproc.client.results import check_folder, fetch_results, in_plain, write_report
from fedproc.client.row_counts import warnings_in
from fedproc.client.session import signed_in
from fedproc.common.errors import FedprocError, InvalidInputError
from fedproc.contract.api.experiments import ExperimentRequest, ExperimentView
from fedproc.contract.wire.crypt4gh import fingerprint

NOT_SUCCEEDED = 3
WITHOUT_SOME = 4
PARTLY_RELEASED = 5
_INTERRUPTED = 130
_SHOWN = 5
_AGAIN = "run it again, or without the hosts that ended it (fedproc experiments show {id})"
_CURES = {
    "failed": "mend the parameters (fedproc tools show {tool}) or choose other data (fedproc data), and run it again; "
    "where the tool itself is at fault, tell its provider; "
    "where no line says why, ask the site by the job's id (fedproc experiments show {id})",
    "refused": "ask the site that refused (fedproc experiments show {id}), or ask for less",
    "cancelled": "run it again whenever you like; fedproc experiments show {id} says who ended it",
}
"""what helps by the state that an experiment ended in (docs/researchers.md)"""

_TO = "folder for results and report: a new or empty one, or one with what was fetched of this experiment before"
Results = Annotated[Path | None, typer.Option("--to", help=f"{_TO}; nothing is fetched without it")]
Logs = Annotated[bool, typer.Option("--logs", help="also show log lines, as far as the hosts let them out")]


def run(
    tool: Annotated[str, typer.Argument(help="the tool's id (fedproc tools)")],
    host: Annotated[list[str] | None, typer.Option(help="a host to run at; repeat it")] = None,
    data: Annotated[list[str] | None, typer.Option(help="a dataset, HOST:ID; repeat it (fedproc data)")] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(help="of images: modality=CT,MR or age=18..65; repeat it (docs/datasets.md)"),
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="NAME=VALUE, a list as 0,6,12; repeat it")
    ] = None,
    parameters: Annotated[Path | None, typer.Option(help="file with parameters, a JSON object")] = None,
    host_parameter: Annotated[list[str] | None, typer.Option(help="HOST.NAME=VALUE; repeat it")] = None,
    upload: Annotated[list[str] | None, typer.Option("--input", help="NAME=FILE, for tasks that take it")] = None,
    version: Annotated[str | None, typer.Option(help="of the tool; the newest unless given")] = None,
    label: Annotated[str | None, typer.Option(help="a name for you to find it by")] = None,
    project: Annotated[
        str | None, typer.Option(help="of your grants, if they name several (fedproc data show)")
    ] = None,
    permit: Annotated[str | None, typer.Option(help="its number, of your grants or as a host asks for it")] = None,
    purpose: Annotated[str | None, typer.Option(help="why, for the hosts' records; as your grants say it")] = None,
    encrypt_to: Annotated[
        Path | None,
        typer.Option(
            help=f"file of your Crypt4GH public key: hosts encrypt result files to it; in plain stay {ALWAYS}"
        ),
    ] = None,
    lost_after: Annotated[int | None, typer.Option(help="seconds of silence, then a host counts as lost")] = None,
    to: Results = None,
    logs: Logs = False,
    wait: Annotated[bool, typer.Option(help="follow it until it ends")] = True,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="have the hosts lay out data and tool; fedproc start ID then starts it")
    ] = False,
    hold: Annotated[
        float | None, typer.Option(min=0.01, max=90, help="with --prepare: days until it expires, unless it is started")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="start nothing: say what each host would do, and what would leave it")
    ] = False,
    json: AsJson = False,
) -> None:
    """Run a tool at hosts, or where datasets are, and follow it to its end.

    \b
    Exit codes:
    0    succeeded (or started, with --no-wait; or prepared, with --prepare; or would run, with --dry-run)
    4    succeeded without some of its hosts, as the tool allows
    5    succeeded, and a site released a part of its results alone
    3    ended otherwise
    1    an error
    130  interrupted
    """
    files = arguments.files(upload or [])
    given = arguments.parameters(parameters, parameter or [])
    by_host = arguments.host_parameters(host_parameter or [])
    selection, dataset_selections = arguments.selections(select or [])
    values = {
        "selection": selection, "dataset_selections": dataset_selections,
        "tool": tool, "version": version, "hosts": host or [], "datasets": data or [], "label": label,
        "encrypt_to": None if encrypt_to is None else read_public(encrypt_to),
        "project": project, "permit": permit, "purpose": purpose, "lost_after": lost_after,
        **preparing.asked(hold, prepare=prepare),
    }  # fmt: skip
    if to is not None:
        check_folder(to)
    with signed_in() as client:
        values["parameters"], values["host_parameters"] = with_lists(client, tool, version, given, by_host)
        values["datasets"] = [each for name in data or [] for each in client.named_datasets(name)]
        request = _checked(client, values)
        inputs.check(client, request, files)
        tell_what_stays_plain(client, request)
        if dry_run:
            return show_dry_run(client.dry_run(request), json=json)
        tell_differences(client, request)
        experiment = client.run(request, key=str(uuid.uuid4()))
        with _cancelled_unless_sent(client, experiment.id):
            inputs.send(client, experiment, files)
        with _interruptible(client, experiment.id):
            if not json:
                say("experiment ", bold(experiment.id))
            if prepare:
                preparing.show(client, experiment.id, wait=wait, json=json)
            elif wait:
                _follow(client, experiment.id, to, logs=logs, json=json)
            elif json:
                as_json(experiment)
            else:
                say(
                    "it goes on by itself; ", bold(f"fedproc follow {experiment.id}"), " shows how, and what came of it"
                )


def _checked(client: Client, values: Mapping[str, object]) -> ExperimentRequest:
    try:
        return ExperimentRequest.model_validate(values)
    except ValidationError as error:
        raise InvalidInputError(explain(client, error, values)) from error


@contextmanager
def _cancelled_unless_sent(client: Client, experiment: str) -> Iterator[None]:
    """No command sends an input later: without all of them an experiment would wait until its deadline."""
    try:
        yield
    except (FedprocError, OSError) as error:
        raise FedprocError(f"{_text(error)}\n{_cancelled(client, experiment)}") from error
    except KeyboardInterrupt:
        notice()
        notice(_cancelled(client, experiment))
        raise typer.Exit(_INTERRUPTED) from None


def _cancelled(client: Client, experiment: str) -> str:
    try:
        client.cancel(experiment)
    except FedprocError as error:
        cure = f"fedproc experiments cancel {experiment} ends it"
        return f"{experiment} waits for its inputs and could not be cancelled ({error.message}): {cure}"
    return f"{experiment} is cancelled, as its inputs were not all sent: start it again"


def follow_one(experiment: Experiment, to: Results = None, logs: Logs = False, json: AsJson = False) -> None:
    """Follow an experiment from its beginning to its end; exit codes as those of run."""
    with signed_in() as client:
        found = experiment_id(client, experiment)
        if to is not None:
            check_folder(to, found)
        with _interruptible(client, found):
            _follow(client, found, to, logs=logs, json=json)


def start(
    experiment: Experiment,
    to: Results = None,
    logs: Logs = False,
    wait: Annotated[bool, typer.Option(help="follow it until it ends")] = True,
    json: AsJson = False,
) -> None:
    """Start an experiment that was prepared (run --prepare), and follow it; exit codes as those of run."""
    with signed_in() as client:
        found = experiment_id(client, experiment)
        if to is not None:
            check_folder(to, found)
        started = client.start(found)
        with _interruptible(client, found):
            if wait:
                _follow(client, found, to, logs=logs, json=json)
            elif json:
                as_json(started)
            else:
                say(f"{found} is started; ", bold(f"fedproc follow {found}"), " shows how it goes on")


def _follow(client: Client, experiment: str, to: Path | None, *, logs: bool, json: bool) -> None:
    if to is not None:
        with suppress(FedprocError, OSError):  # whoever waits must not lose sight of the experiment for it
            write_report(client, experiment, to)
    _until_end(client, experiment, logs=logs, json=json)
    found = client.experiment(experiment)
    if to is not None:
        fetch(client, found, to)
    if not json:
        say(outcome(found), _next(found, fetched=to is not None))
    leave(found)


def _next(found: ExperimentView, *, fetched: bool) -> str:
    """What a person does next, by how it ended."""
    if found.state == "succeeded":
        return "" if fetched else f"; next: fedproc results {found.id} --to FOLDER"
    return f"; next: {_CURES.get(found.state, _AGAIN).format(id=found.id, tool=found.tool)}"


def fetch(client: Client, experiment: ExperimentView, to: Path, private: bytes | None = None) -> None:
    """Fetch the results, and say where they are; or, where that fails, that they are kept."""
    kept = f"the results are kept at the centre: fedproc results {experiment.id} --to"
    try:
        fetched = fetch_results(client, experiment.id, to, private)
        plain = in_plain(client.results(experiment.id)) if experiment.encrypt_to or private is not None else []
    except (FedprocError, OSError) as error:
        raise FedprocError(f"{_text(error, to)}\n{kept} FOLDER fetches them") from error
    except KeyboardInterrupt:
        notice()
        notice(f"{kept} {shlex.quote(str(to))} goes on where it was cut")
        raise typer.Exit(_INTERRUPTED) from None
    files = "1 file" if len(fetched) == 1 else f"{len(fetched)} files"
    if experiment.encrypt_to and private is None:
        notice("what ends in .c4gh is encrypted to your key: fedproc results, with --decrypt-with KEY, decrypts it")
    if key := experiment.encrypt_to if private is None else public_of(private):
        notice(f"sha256 of the key: {fingerprint(key)}; the log of each site has that of the key it encrypted to")
    if plain:
        more = f" and {len(plain) - _SHOWN} more" if len(plain) > _SHOWN else ""
        notice(
            f"not encrypted, so that the centre could have read or changed it: {', '.join(plain[:_SHOWN])}{more}"
            " (what another task of the tool reads is not; of any other, ask its site for the sha256 in its log)"
        )
    for warning in warnings_in(path for path in fetched if path.suffix == ".json")[:_SHOWN]:
        notice(f"before its numbers are used: {warning}")
    notice(f"{experiment.id} ", outcome(experiment), f": {files} and its report are in ", bold(to))


def _text(error: FedprocError | OSError, place: object = "its inputs") -> str:
    return error.message if isinstance(error, FedprocError) else f"{error.filename or place}: {error.strerror or error}"


def outcome(found: ExperimentView) -> object:
    """``succeeded``, with the hosts without which it did; or ``partly released``, with the sites that keep a part."""
    shown = coloured("partly released" if is_partly_released(found) else found.state)
    if is_partly_released(found):
        shown.append(f" by {', '.join(found.partly_released)}", "yellow")
    if found.succeeded_without:
        shown.append(f" without {', '.join(found.succeeded_without)}", "yellow")
    return shown


def is_partly_released(found: ExperimentView) -> bool:
    """Whether it succeeded, and a site keeps a part of the results."""
    return found.state == "succeeded" and bool(found.partly_released)


def leave(found: ExperimentView) -> None:
    """Exit with the code that says how the experiment ended."""
    if found.state != "succeeded":
        raise typer.Exit(NOT_SUCCEEDED)
    if found.succeeded_without:
        raise typer.Exit(WITHOUT_SOME)
    if is_partly_released(found):
        raise typer.Exit(PARTLY_RELEASED)


def _until_end(client: Client, experiment: str, *, logs: bool, json: bool) -> None:
    if not json:
        follow(client.events(experiment), console, logs=logs)
        return
    for event in client.events(experiment):
        sys.stdout.write(one_json(event.model_dump(mode="json", exclude_none=True)) + "\n")
        sys.stdout.flush()


@contextmanager
def _interruptible(client: Client, experiment: str) -> Iterator[None]:
    """The experiment goes on at the hosts when nobody looks; only a person says that it shall not."""
    try:
        yield
    except KeyboardInterrupt:
        with suppress(KeyboardInterrupt, typer.Abort):
            _interrupted(client, experiment)
        raise typer.Exit(_INTERRUPTED) from None


def _interrupted(client: Client, experiment: str) -> None:
    """What to do next is said first: whoever asks a second time for an end has it before his eyes."""
    notice()
    notice(f"{experiment} goes on at the hosts: fedproc follow {experiment} shows it again,")
    notice(f"fedproc experiments cancel {experiment} ends it")
    if sys.stdin.isatty() and typer.confirm("Cancel it now?", default=False):
        client.cancel(experiment)
        notice(f"cancelling; fedproc experiments show {experiment} shows how it ends")


def mount(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(run)
    app.command("follow")(follow_one)
    app.command("start")(start)
