"""Output: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]

_WIDE = 500
"""columns of output that goes to a file or a pipe: nothing is folded there"""

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


_COLOURS = {"succeeded": "green", "cancelled": "yellow"} | dict.fromkeys(
    ("failed", "error", "refused", "expired", "lost"), "red"
)


def as_json(value: Any) -> None:
    """Print models, or lists of them, as JSON."""
    sys.stdout.write(json.dumps(_plain(value), indent=1, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, none: str) -> None:
    """A table without frames; ``none`` is printed where there are no rows."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for number, title in enumerate(head):
        shown.add_column(title, no_wrap=number == 0, overflow="fold")
    for row in rows:
        shown.add_row(*(str(cell) for cell in row))
    plain = Console(highlight=False, width=None if console.is_terminal else _WIDE)
    plain.print(shown) if shown.row_count else console.print(none)


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


def clock(moment: datetime | None) -> str:
    """A moment in the reader's time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else "-"


def coloured(state: str) -> str:
    """The state in its colour; the word alone says it, too."""
    return f"[{_COLOURS.get(state, 'cyan')}]{state}[/]"
