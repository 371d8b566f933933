"""How a table's file seems to be written: encoding, separator, decimal mark, spellings of missing values."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from fedproc.tables.description import SEPARATORS
from fedproc.tables.records import MARKS, separator_line

SURELY_MISSING = frozenset({"NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "#N/A", "#NV", "<NA>"})
"""These mean a missing value wherever they stand."""
PERHAPS_MISSING = frozenset({"na", ".", "-", "--", "?", "None", "none", "k.A.", "unknown", "missing"})
"""These do where the other cells of the column are numbers, dates or booleans."""

_LINES = 100
_MOST = 0.7
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?")
_DECIMAL_POINT = re.compile(r"[+-]?[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?")


def encoding_of(raw: bytes) -> str:
    """By the byte order mark, else UTF-8 if it is that; what else it may be, western Europe's programs write."""
    for mark, name in MARKS:
        if raw.startswith(mark):
            return name
    for name in ("utf-8", "windows-1252"):
        try:
            raw.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    return "iso-8859-1"


def separator_of(text: str) -> str:
    """What splits most lines into as many cells as the first, and the first into most; a comma if nothing does."""
    if named := separator_line(text):
        return named
    return max(SEPARATORS, key=lambda mark: agreement(text, mark))


def is_split_by(text: str, separator: str) -> bool:
    """Whether most of its lines have as many cells as the first, which has several."""
    return agreement(text, separator)[0] > _MOST


def may_be_table(text: str) -> bool:
    """Whether it has several lines that a separator splits alike."""
    mark = separator_of(text)
    return len(_first_rows(text, mark)) > 1 and is_split_by(text, mark)


def decimal_of(texts: Iterable[str], usual: str = ".") -> str:
    """``,`` or ``.``, as the column's texts have fractions; ``usual`` if none or both do."""
    comma = point = 0
    for text in texts:
        comma += _DECIMAL_COMMA.fullmatch(text) is not None
        point += _DECIMAL_POINT.fullmatch(text) is not None
    if bool(comma) == bool(point):
        return usual
    return "," if comma else "."


def may_be_thousands(texts: Sequence[str], decimal: str) -> bool:
    """Whether the decimal mark could mark thousands: three digits follow it wherever it stands."""
    marked = [text for text in texts if decimal in text]
    return bool(marked) and all(re.fullmatch(rf"[+-]?[1-9][0-9]{{0,2}}[{decimal}][0-9]{{3}}", text) for text in marked)


def agreement(text: str, separator: str) -> tuple[float, int]:
    """The share of the first lines that have as many cells as the first, and how many those are; 0.0 for one cell."""
    rows = _first_rows(text, separator)
    width = max((number for number, name in enumerate(rows[0] if rows else [], 1) if name.strip()), default=0)
    if width < 2:
        return 0.0, 0
    agreeing = sum(width <= len(row) <= len(rows[0]) for row in rows)
    return agreeing / len(rows), width


def _first_rows(text: str, separator: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            if any(map(str.strip, cells)):
                rows.append(cells)
            if len(rows) == _LINES:
                break
    except csv.Error:
        return rows[:1]
    return rows
