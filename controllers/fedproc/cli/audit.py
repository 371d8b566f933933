"""``fedproc audit verify``, and what ``fedproc audit`` and ``fedproc site audit`` have in common: reading a log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fedproc.cli.show import AsJson, as_json, say, styled, table
from fedproc.common.errors import InvalidInputError
from fedproc.common.tlog.entries import Entry
from fedproc.common.tlog.selection import Reader, Selection

NOT_WHOLE = 2

Job = Annotated[str | None, typer.Option(help="of this job")]
Experiment = Annotated[str | None, typer.Option(help="of this experiment")]
Dataset = Annotated[str | None, typer.Option(help="of experiments that used this dataset")]
ToolName = Annotated[str | None, typer.Option("--tool", help="of this tool: its id, or the beginning of a digest")]
User = Annotated[str | None, typer.Option(help="of this user: the subject of the tokens")]
Project = Annotated[str | None, typer.Option(help="of this project")]
Kind = Annotated[str | None, typer.Option(help="of this kind, for example release or job.started")]
Since = Annotated[str | None, typer.Option(help="from this moment on (UTC): 2026-11-29, or 2026-11-29T13:00")]
Until = Annotated[str | None, typer.Option(help="up to this moment (UTC), the day or minute included")]

audit = typer.Typer(help="The centre's transparency log, and the proof of any log.", no_args_is_help=True)


@audit.command("show")
def show(
    job: Job = None,
    experiment: Experiment = None,
    dataset: Dataset = None,
    tool: ToolName = None,
    user: User = None,
    project: Project = None,
    kind: Kind = None,
    since: Since = None,
    until: Until = None,
    folder: Annotated[Path, typer.Option("--log", help="the log's folder")] = Path("/var/lib/fedproc/tlog"),
    json: AsJson = False,
) -> None:
    """What was submitted, sent, received and deleted, on the centre's machine: the centre's transparency log."""
    asked = Selection(
        job, experiment, dataset, tool, named(folder, "user", user), named(folder, "project", project), kind,
        moment(since, "--since"), moment(until, "--until"),
    )  # fmt: skip
    show_entries(reader(folder), asked, json)


def reader(folder: Path) -> Reader:
    """The entries of the log in a folder."""
    from fedproc.common.tlog.folder import ENTRIES
    from fedproc.common.tlog.verification import read_entries

    return lambda: read_entries(folder / ENTRIES)


def named(folder: Path, kind: str, text: str | None) -> str | None:
    """As the log names it: by its pseudonym, where there is a key for that."""
    from fedproc.common.tlog.pseudonyms import KEY, Pseudonyms

    if text is None or text.startswith(f"{kind}:") or not (folder / KEY).exists():
        return text
    names = Pseudonyms(folder)
    return names.of(kind, text) if kind == "user" else names.unless_id(kind, text)


def show_entries(read: Reader, selection: Selection, json: bool) -> None:
    """Print the entries that were asked for."""
    found = selection.of(read)
    if json:
        return as_json([shown(entry) for entry in found])
    rows = ((entry.number, entry.at[:19], entry.kind, *_about(entry.data)) for entry in found)
    table(("no.", "when (UTC)", "what", "job or experiment", ""), rows, none="the log has nothing of that")


def shown(entry: Entry) -> dict[str, Any]:
    """An entry for programs."""
    return {"number": entry.number, "at": entry.at, "kind": entry.kind, **entry.data}


def _about(data: Mapping[str, Any]) -> tuple[str, str]:
    rest = {name: value for name, value in data.items() if name not in ("job", "experiment")}
    return str(data.get("job") or data.get("experiment") or ""), "  ".join(_parts(rest))


def _parts(data: Mapping[str, Any]) -> Iterable[str]:
    for name, value in data.items():
        match name, value:
            case "tool", {"id": str(), "digest": str()}:
                yield f"tool {value['id']} {value.get('version', '')} {short(value['digest'])}"
            case "datasets", [*entries]:
                yield "datasets " + ", ".join(versioned(one.get("id"), one.get("version")) for one in entries)
            case _, [*entries]:
                yield f"{name} {len(entries)}"
            case _, str():
                yield f"{name} {short(value)}"
            case _:
                yield f"{name} {value}"


def versioned(dataset: object, version: object) -> str:
    return f"{dataset}@{short(str(version))}" if version else str(dataset)


def short(text: str) -> str:
    """Hashes by their first 12 digits, as people compare them."""
    head, colon, rest = text.rpartition(":")
    hexadecimal = len(rest) >= 32 and not set(rest) - set("0123456789abcdef")
    return f"{head}{colon}{rest[:12]}" if hexadecimal else text


def moment(text: str | None, option: str) -> str | None:
    """A moment that somebody typed, or its beginning."""
    if text is None:
        return None
    if len(text) < 4 or not text[:4].isdigit() or set(text) - set("0123456789-:TZ. "):
        raise InvalidInputError(f"{option} {text!r}: give it as 2026-11-29, or 2026-11-29T13:00 (UTC)")
    return text.replace(" ", "T").rstrip("Z")


@audit.command()
def verify(
    place: Annotated[Path, typer.Argument(help="a log's folder, or its entries.jsonl")],
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="a checkpoint that somebody else has kept; repeat it")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="the log's public key, NAME+ID+KEY; key.pub beside it unless given")
    ] = None,
    json: AsJson = False,
) -> None:
    """Prove offline what a log proves: that nothing in it was changed, put in another order, left out or cut off.

    Exit codes: 0 nothing speaks against it, 2 it is not what it was, 1 it cannot be read.
    """
    from fedproc.common.tlog.verification import Kept
    from fedproc.common.tlog.verification import verify as look_at

    kept = [Kept(f"checkpoint {path}", _text(path)) for path in checkpoint or []]
    found = look_at(place, kept, key)
    if json:
        as_json({"entries": found.entries, "covered": found.covered, "whole": found.whole, "proved": found.proved,
                 "problems": found.problems, "unproved": found.unproved})  # fmt: skip
    else:
        _say(found)
    if not found.whole:
        raise typer.Exit(NOT_WHOLE)


def _say(found: Any) -> None:
    if found.first and found.last:
        say(f"{found.entries} entries, from {found.first.at[:19]} to {found.last.at[:19]} (UTC)")
    for style, head, texts in (
        ("red", "It is not what it was:", found.problems),
        ("green", "Proved:", found.proved),
        ("yellow", "Not proved:", found.unproved),
    ):
        if texts:
            say(styled(head, style))
            for text in texts:
                say("  ", text)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"checkpoint {path}: it is no text") from error


def mount(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(audit, name="audit")
