"""``fedproc site releases``, ``show``, ``approve``, ``refuse``: what awaits a person before it leaves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from fedproc.cli.show import AsJson, as_json, bold, clock, line, say, styled, table
from fedproc.cli.site.app import site
from fedproc.cli.site.contents import Content
from fedproc.cli.site.control import Socket
from fedproc.cli.site.release_client import ReleaseClient, chosen

WAITS = 3
_ROWS = 200

Job = Annotated[str, typer.Argument(help="the job's id (fedproc site releases)")]
Parts = Annotated[
    list[str] | None, typer.Argument(help="outputs or files of it; without any, all that you have not decided")
]
Reason = Annotated[str, typer.Option(prompt=True, help="why; it stays on this host")]


@site.command()
def releases(socket: Socket, json: AsJson = False) -> None:
    """What awaits a person's decision before it leaves, since when, and until when."""
    found = ReleaseClient(socket).all()
    if json:
        return as_json(found)
    head = ("job", "tool", "of", "class", "files", "findings", "persons", "since", "until")
    rows = [
        (entry["job"], f"{entry['tool']} {entry['version']}", entry["user"], ", ".join(entry["classes"]),
         len(entry["files"]), entry["findings_count"], f"{entry['persons_decided']} of {entry['persons_needed']}",
         _clock(entry["since"]), _clock(entry["until"]))
        for entry in found
    ]  # fmt: skip
    table(head, rows, none="nothing awaits release")


@site.command()
def show(
    job: Job,
    socket: Socket,
    parts: Annotated[list[str] | None, typer.Argument(help="outputs or files of it, to look into")] = None,
    everything: Annotated[bool, typer.Option("--all", help=f"more than the first {_ROWS} lines of a file")] = False,
    json: AsJson = False,
) -> None:
    """What of a job waits, what each rule found, and the content of the outputs or files that you name."""
    client = ReleaseClient(socket)
    entry = client.one(job)
    wanted = [file for file in entry["files"] if {file["path"], file["output"]} & set(parts or ())]
    if unknown := set(parts or ()) - {name for file in wanted for name in (file["path"], file["output"])}:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: no output or file of {job}")
    if json:
        contents = {file["path"]: vars(client.content(job, file["path"])) for file in wanted}
        return as_json({**entry, "content": contents})
    _show_job(entry)
    if entry["may_decide"] and not wanted:
        say()
        say(bold(f"fedproc site show {job} OUTPUT"), " shows a content; then ", bold("approve"), " or ", bold("refuse"))
    for file in wanted:
        say()
        say(bold(file["path"]), f"  sha256 {file['sha256']}")
        _show_content(client.content(job, file["path"]), everything)


def _show_job(entry: dict[str, Any]) -> None:
    say(bold(entry["job"]), f"  {entry['tool']} {entry['version']}, task {entry['task']}, for {entry['user']}")
    say(f"since {_clock(entry['since'])}; stays here if nobody decides until {_clock(entry['until'])}")
    say(f"{entry['persons_decided']} of {entry['persons_needed']} persons have decided")
    if not entry["may_decide"]:
        say(styled("you made this tool, or asked for this job: somebody else decides", "yellow"))
    rows = [(file["path"], file["class"], file["findings"], _state(file), file["sha256"]) for file in entry["files"]]
    table(("file", "class", "findings", "", "sha256"), rows, none="there are no files")
    rows = [
        (each["output"], f"{each['rule']} {each['version']}", each["result"], each["threshold"] or "", each["found"])
        for each in entry["findings"]
    ]
    say()
    table(("output", "rule", "result", "threshold", "found"), rows, none="no rule found anything")


def _state(file: dict[str, Any]) -> object:
    if file["kept"]:
        return styled("a rule refuses it", "red")
    if file["said"] is None:
        return "waits for your word"
    return "you released it" if file["said"] else "you refused it"


def _show_content(content: Content, everything: bool) -> None:
    for note in content.notes:
        say(styled(note, "yellow"))
    if content.kind == "picture":
        return say("a picture: fedproc site review shows it in a browser")
    most = None if everything else _ROWS
    if content.rows:
        widest = max(map(len, content.rows))
        head, *rows = ([*row, *[""] * (widest - len(row))] for row in content.rows)
        table(head, rows[:most], none="no row")
    for each in content.lines[:most]:
        say(each)
    left = max(len(content.rows) - 1, len(content.lines)) - (most or len(content.rows) + len(content.lines))
    if left > 0:
        say(styled(f"{left} more lines: --all", "yellow"))


@site.command()
def approve(
    job: Job,
    socket: Socket,
    reason: Reason,
    parts: Parts = None,
    refuse_rest: Annotated[bool, typer.Option(help="and keep all else of it that you have not decided")] = False,
    json: AsJson = False,
) -> None:
    """Let outputs, or files, of a job leave: these bytes and no others.

    \b
    Exit codes:
    0    all of the job is decided
    3    something of it still waits, for you or for a second person
    1    an error
    """
    client = ReleaseClient(socket)
    files = chosen(client.one(job), parts or ())
    found = client.decide(job, release=True, reason=reason, files=files)
    if refuse_rest and found["open"]:
        rest = [file for file in client.one(job)["files"] if not file["kept"] and file["said"] is None]
        if rest:
            left = {file["path"]: file["sha256"] for file in rest}
            found = client.decide(job, release=False, reason=reason, files=left)
    _say_decided(found, f"{job}: {len(files)} released", json)


@site.command()
def refuse(job: Job, socket: Socket, reason: Reason, parts: Parts = None, json: AsJson = False) -> None:
    """Keep outputs, or files, of a job inside; if nothing of it is released, it ends as refused.

    \b
    Exit codes:
    0    all of the job is decided
    3    something of it still waits, for you or for a second person
    1    an error
    """
    client = ReleaseClient(socket)
    files = chosen(client.one(job), parts or ())
    found = client.decide(job, release=False, reason=reason, files=files)
    _say_decided(found, f"{job}: {len(files)} refused", json)


@site.command()
def release(job: Job, socket: Socket, reason: Reason) -> None:
    """The same as approve, of all that waits of a job."""
    approve(job, socket, reason)


def _say_decided(found: dict[str, Any], text: str, json: bool) -> None:
    if json:
        as_json(found)
    else:
        say(text, *([f"; {len(found['open'])} still wait"] if found["open"] else []))
    if found["open"]:
        raise typer.Exit(WAITS)


def _clock(text: str | None) -> object:
    return line(clock(datetime.fromisoformat(text)) if text else "-")


def mount(_app: typer.Typer) -> None:
    """The commands are part of ``fedproc site``, which is in the application already."""
