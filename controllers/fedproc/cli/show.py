"""Output: a table for people, JSON for programs.

What is printed is mostly written by others: labels, reasons, log lines, names of files. None of it is markup here, and
none of it reaches the terminal as a control character: whoever prints goes through :func:`line`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedproc.cli.widths import column_widths
from fedproc.common.errors import InvalidInputError
from fedproc.common.text import escaped
from fedproc.contract.api.dry_run import DryRun
from fedproc.contract.api.experiments import ExperimentView, whose_word
from fedproc.contract.times import moment
from fedproc.contract.wire.logs import WitnessedLog

AsJson = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]

_ENDLESS = 1_000_000
"""columns of output that goes to a file or a pipe: nothing is folded or cut there"""

_PLAIN: dict[str, Any] = {"highlight": False, "soft_wrap": True, "markup": False, "emoji": False}
console = Console(**_PLAIN)
errors = Console(stderr=True, **_PLAIN)

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-ZÀ-Þ])")
_COLOURS = (
    {"succeeded": "green", "cancelled": "yellow"}
    | dict.fromkeys(("failed", "error", "refused", "expired", "lost"), "red")
    | {"partly released": "yellow"}
)
_OBEYED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""what ``json`` leaves as it is, and a terminal or a reader of lines does not"""


def say(*parts: object) -> None:
    """Print one line of these, each as it is or styled."""
    console.print(line(*parts))


def say_lines(text: str) -> None:
    """Print text that may have several lines, such as a description, line by line."""
    for each in text.strip().split("\n"):
        say(each.rstrip())


def flowing(text: str) -> str:
    """The same text as one line, for a cell of a table."""
    return " ".join(text.split())


def first_sentence(text: str) -> str:
    """What a description says first, which tells it from others in a list."""
    return _SENTENCE.split(flowing(text), maxsplit=1)[0]


def notice(*parts: object) -> None:
    """The same to stderr: what is no result."""
    errors.print(line(*parts))


def say_fault(message: str) -> None:
    """What is wrong, to stderr, as it stands where it ends a command."""
    label = "fedproc: "
    sys.stderr.write(label + f"\n{' ' * len(label)}".join(map(escaped, message.split("\n"))) + "\n")


def line(*parts: object) -> Text:
    """One line: what is not styled already is text, and control characters in it are shown as ``\\x1b``."""
    return Text.assemble(*(part if isinstance(part, Text) else escaped(str(part)) for part in parts))


def styled(text: object, style: str) -> Text:
    """A part of a line in a style of rich."""
    return Text(escaped(str(text)), style)


def bold(text: object) -> Text:
    return styled(text, "bold")


def as_json(value: Any) -> None:
    """Print models, or lists of them, as JSON."""
    sys.stdout.write(one_json(value, indent=1) + "\n")


def one_json(value: Any, indent: int | None = None) -> str:
    """A model, or a list of them, as JSON that may be printed: readable, and no terminal obeys it."""
    text = json.dumps(_plain(value), indent=indent, ensure_ascii=False)
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def check_can_ask(*, yes: bool) -> None:
    """Before anything is done for a question: raises :class:`InvalidInputError` where nobody could answer it."""
    if not yes and not sys.stdin.isatty():
        raise InvalidInputError("this asks before it goes on, and nobody can be asked here: say --yes")


def agreed(question: str, *, yes: bool) -> None:
    """Go on if a person agrees, or has said ``--yes``; ends the command if not."""
    check_can_ask(yes=yes)
    if not yes:
        typer.confirm(escaped(question), abort=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, none: str) -> None:
    """A table without frames, in which words stay whole; ``none`` is printed where there are no rows."""
    cells = [[line(cell) for cell in row] for row in rows]
    if not cells:
        return say(none)
    plain = Console(**{**_PLAIN, "soft_wrap": False}, width=None if console.is_terminal else _width_of_pipe())
    shown = Table(box=None, header_style="bold", pad_edge=False)
    titles = [line(title) for title in head]
    for number, (title, width) in enumerate(zip(titles, column_widths([titles, *cells], plain.width), strict=True)):
        shown.add_column(title, no_wrap=number == 0, overflow="fold", width=width)
    for row in cells:
        shown.add_row(*row)
    plain.print(shown)


def _width_of_pipe() -> int:
    """Whoever sets ``COLUMNS`` wants that; else nothing is folded."""
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdecimal() and int(given) > 0 else _ENDLESS


def witnessed(log: WitnessedLog | None) -> Text:
    """What a witness says of a transparency log."""
    if log is None:
        return line("none was seen yet")
    if log.assessment == "consistent":
        return line(styled("consistent", "green"), f", {log.size} entries, seen {clock(moment(log.at))}")
    style = "yellow" if log.assessment == "unproven" else "red"
    return line(styled(log.assessment, style), f": {log.text}")


def size(count: int | None) -> str:
    """Bytes for people, in decimal units."""
    if count is None:
        return "?"
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):  # noqa: B007 (the last one stays)
        if value < 1000:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def version_text(version: str, label: str | None = None) -> str:
    """A dataset's version for people: what its site calls it, and as much of its hash as tells it from others."""
    short = version[:19] if version.startswith("sha256:") else version
    return f"{label} ({short})" if label else short


def clock(moment: datetime | None) -> str:
    """A moment in the reader's time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else "-"


def coloured(state: str) -> Text:
    """The state in its colour; the word alone says it, too."""
    return styled(state, _COLOURS.get(state, "cyan"))


def say_terms(found: ExperimentView | DryRun) -> None:
    """Project, permit and purpose, each with whose word it is."""
    for term in ("project", "permit", "purpose"):
        if value := getattr(found, term):
            say(f"{term}: {value} ({whose_word(found.told_by, term)})")
