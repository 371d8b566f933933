"""What is in a sealed file, for a person's eyes: a table, text, JSON, a picture, or the shapes of a model's arrays.

Every token of a file is shown as it stands there; nothing is read into numbers and written again. What a person's eyes
do not see (bytes after a picture's end, texts in it) is told beside it. Files come from tools that nobody trusts: the
program of whoever looks reads them, under that account, and never the orchestrator.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from fedproc.cli.site.escaping import escaped, first_notes, of_bytes
from fedproc.cli.site.pictures import MOST_BYTES, hidden_in
from fedproc.site.policy.engine.kinds import HEAD, PICTURES, kind_of
from fedproc.site.policy.engine.model_files.accounting import arrays_of

TEXT_BYTES = 4 << 20
"""of a file that are shown as text or table"""
_MOST_CELLS = 200_000
_MOST_LINES = 200_000
"""of JSON that is laid out; of more, its text is shown as it is"""
_DEEPEST = 20
_MOST_CHARACTERS = 2000


@dataclass
class Content:
    """``kind`` is table, json, text, model, picture or bytes. ``rows`` of a table begin with its head."""

    kind: str
    rows: list[list[str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    media_type: str = ""


def content_of(source: io.BufferedIOBase | io.BytesIO, size: int, name: str) -> Content:
    """A file that can be sought in, of ``size`` bytes; ``name`` only decides between a table and text."""
    head = source.read(HEAD)
    kind = kind_of(head)
    if kind in PICTURES:
        return _picture(source, size, str(kind), head)
    if (found := arrays_of(source, size)) is not None:
        rows = [[_shown(part) for part in row] for row in found.rows]
        notes = [_shown(note) for note in first_notes(found.notes)]
        return Content("model", rows=[["array", "type", "shape"], *rows], notes=notes)
    source.seek(0)
    content = source.read(min(size, TEXT_BYTES))
    shown = _text(content, name, kind)
    if size > len(content):
        shown.notes.append(f"these are the first {len(content)} of {size} bytes")
    if kind is not None:
        shown.notes.append(f"by its bytes it is of the kind {kind}")
    return shown


def _shown(text: str) -> str:
    """Of a model's file, whose names and texts are the tool's."""
    line = escaped(text)
    more = f" … and {len(line) - _MOST_CHARACTERS} more characters" if len(line) > _MOST_CHARACTERS else ""
    return line[:_MOST_CHARACTERS] + more


# -- text ------------------------------------------------------------------------------------------------


def _text(content: bytes, name: str, kind: str | None) -> Content:
    if kind is not None and kind != "markup":
        return Content("bytes", lines=list(_dump(content[:4096])))
    text = content.decode("utf-8", "backslashreplace")
    stripped = text.lstrip()
    if stripped.startswith(("{", "[")) and _is_json(text):
        laid_out = [escaped(line) for line in islice(_laid_out(text), _MOST_LINES + 1)]
        if len(laid_out) <= _MOST_LINES:
            return Content("json", lines=laid_out)
    if name.endswith((".csv", ".tsv")):
        rows = _rows(text, "\t" if name.endswith(".tsv") else ",")
        if rows is not None:
            return Content("table", rows=rows)
    return Content("text", lines=[of_bytes(line) for line in content.split(b"\n")])


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _laid_out(text: str) -> list[str]:
    """Valid JSON over lines; each token stays as it is, a key that stands twice, too."""
    lines: list[str] = []
    line, depth, quoted, skip = "", 0, False, False
    for letter in text:
        if quoted:
            line += letter
            quoted, skip = (True, False) if skip else (letter != '"', letter == "\\")
        elif letter in "}]":
            depth -= 1
            if line.strip():
                lines.append(line)
                line = "  " * min(depth, _DEEPEST) + letter
            else:  # it closes what the line before has opened
                line = lines.pop() + letter
        elif letter in "{[,":
            depth += letter != ","
            lines.append(line + letter)
            line = "  " * min(depth, _DEEPEST)
        elif not letter.isspace():
            line += ": " if letter == ":" else letter
            quoted = letter == '"'
    return [*lines, line]


def _rows(text: str, delimiter: str) -> list[list[str]] | None:
    try:
        rows, widest = [], 0
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            rows.append([escaped(cell) for cell in row])
            widest = max(widest, len(row))
            if widest * len(rows) > _MOST_CELLS:  # each row is shown as wide as the widest
                return None
    except csv.Error:
        return None
    return rows


def _dump(content: bytes) -> Iterator[str]:
    for start in range(0, len(content), 16):
        part = content[start : start + 16]
        characters = "".join(chr(each) if 32 <= each < 127 else "." for each in part)
        yield f"{start:08x}  {part.hex(' '):<48}  {characters}"


# -- pictures --------------------------------------------------------------------------------------------


def _picture(source: io.BufferedIOBase | io.BytesIO, size: int, kind: str, head: bytes) -> Content:
    if size > MOST_BYTES:
        note = f"a picture ({kind}) of {size} bytes, more than {MOST_BYTES}: it is not shown, and not looked through"
        return Content("bytes", lines=list(_dump(head)), notes=[note])
    source.seek(0)
    notes = list(first_notes(hidden_in(source.read(size), kind)))
    return Content("picture", media_type=f"image/{kind}", notes=notes)
