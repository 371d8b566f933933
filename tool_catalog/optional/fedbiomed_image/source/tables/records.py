"""A file of comma-separated values as records: its names of columns, and its rows with the numbers of their lines.

Python's own ``csv`` splits the records. pandas' readers fill a row that is too short, take the first column of rows
that are too long for an index, and know no lines (docs/decisions/0010-pandas.md).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .description import Format
from .files import read_bytes
from .problems import Problem, Problems, TableError, one

LARGEST = 2 << 30
"""bytes of a table's file"""
MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SAYS_SEPARATOR = re.compile(r"sep=([^\r\n])(?=[\r\n]|\Z)", re.IGNORECASE)
"""a first line for spreadsheets"""
_LONGEST_CELL = csv.field_size_limit()


@dataclass
class Records:
    """``names`` are those of the first line without blanks around them; a nameless column is ``""``.

    ``rows`` are the lines' numbers and as many cells as there are names; ``empty`` counts the rows left out because
    no cell has any text. ``problems`` are those of the rows.
    """

    file: str
    names: list[str] = field(default_factory=list)
    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    empty: int = 0
    header_line: int = 1
    problems: Problems = field(default_factory=Problems)


def read_records(path: Path, form: Format) -> Records:
    """The records of a file. Raises :class:`TableError` if it is none that can be split into records at all."""
    return split(read_text(path, form.encoding), path.name, form.separator)


def read_text(path: Path, encoding: str) -> str:
    """The file's text without byte order mark. Raises :class:`TableError`."""
    try:
        raw = read_bytes(path, LARGEST)
    except FileNotFoundError as error:
        raise one(path.name, f"a file that can be read ({error.strerror})") from error
    return decoded(raw, encoding, path.name)


def decoded(raw: bytes, encoding: str, file: str) -> str:
    """``raw`` as text. Raises :class:`TableError` where it cannot be in that encoding, or plainly is in another."""
    marked = next((name for mark, name in MARKS if raw.startswith(mark)), None)
    if marked not in (None, encoding):
        raise one(file, f"text in {encoding}, as dataset.json says; its byte order mark says {marked}")
    try:
        text = raw.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        line = raw.count(b"\n", 0, start) + 1
        raise one(file, f"text in {encoding}; name the file's encoding in dataset.json", line=line) from error
    if encoding not in {"utf-8", "utf-16"} and not raw.isascii() and _is_utf8(raw):
        raise one(file, f"text in {encoding}, as dataset.json says; the file is in utf-8")
    if "\0" in text:
        raise one(file, "a text without NUL", line=text.count("\n", 0, text.index("\0")) + 1)
    return text.removeprefix("\ufeff")


def separator_line(text: str) -> str | None:
    """What a first line ``sep=;`` says, if the text has one."""
    named = _SAYS_SEPARATOR.match(text)
    return named[1] if named else None


def split(text: str, file: str, separator: str) -> Records:
    """The records of a text. Raises :class:`TableError`."""
    found = Records(file)
    rows = _numbered(text, file, separator)
    if (named := separator_line(text)) is not None:
        if named != separator:
            raise one(file, f"{separator!r} between cells, as dataset.json says", 1, f"a first line sep={named}")
        next(rows, None)
    line, header = next(rows, (1, []))
    found.names, found.header_line = [name.strip() for name in header], line
    if not any(found.names):
        raise one(file, "the names of the columns in the first line", line=line)
    _take_rows(found, rows)
    return found


def _take_rows(found: Records, rows: Iterator[tuple[int, list[str]]]) -> None:
    """Cells beyond the last name may be left out, and are empty: spreadsheets write as many as they like.

    If one of them has a text, the row's cells may be shifted against the names.
    """
    width = max(number for number, name in enumerate(found.names, 1) if name)
    whole = len(found.names)
    for line, cells in rows:
        if not any(map(str.strip, cells)):
            found.empty += 1
        elif width <= len(cells) <= whole and not any(map(str.strip, cells[width:])):
            found.rows.append((line, cells + [""] * (whole - len(cells))))
        else:
            what = _counted(width, shifted=len(cells) == width + 1 or width < len(cells) <= whole)
            found.problems.add(Problem(found.file, what, line, found=f"{len(cells)} cells"))


def _counted(width: int, *, shifted: bool) -> str:
    why = "the first line names"
    if shifted:
        why = "the first line names (a program that writes the rows' numbers must name that column, too)"
    return f"{width} cells, as many columns as {why}"


def _numbered(text: str, file: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the numbers of the lines in which they begin; a line without anything is no row."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        what = "cells that end; a quotation mark within one is written twice"
        if "field limit" in str(error):
            what = f"cells of at most {_LONGEST_CELL} characters; a quotation mark that stands alone makes one of many"
        raise one(file, f"{what} ({error})", line) from error


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


__all__ = ["Records", "TableError", "decoded", "read_records", "read_text", "separator_line", "split"]
