"""A small result as a person reads it: a table, or its text. Pure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from fedproc.common.text import escaped
from fedproc.contract.api.files import FileView

LARGEST = 512 << 10
MOST_LINES = 1000
_TABLES = {".csv": ",", ".tsv": "\t"}
_TEXTS = frozenset({*_TABLES, ".json", ".jsonl", ".txt", ".md", ".log", ".yaml", ".yml", ".toml", ".xml", ".svg"})


@dataclass(frozen=True)
class Looked:
    """Rows, the first of which is their head, or lines; and how many more there are."""

    rows: Sequence[Sequence[str]] = ()
    lines: Sequence[str] = ()
    left: int = 0


def can_be_looked_at(file: FileView) -> bool:
    """Whether a page may show it: whole, small, by its name a text, and not encrypted to its user."""
    is_text = PurePosixPath(file.path).suffix.lower() in _TEXTS
    return is_text and file.state == "complete" and not file.plain_sha256 and (file.size or 0) <= LARGEST


def looked_at(path: str, content: bytes) -> Looked:
    """What is in it; what is no table after all is shown as its text."""
    lines = content.decode("utf-8-sig", "backslashreplace").splitlines()
    delimiter = _TABLES.get(PurePosixPath(path).suffix.lower())
    if delimiter and (rows := _rows(lines, delimiter)):
        return Looked(rows=rows[: MOST_LINES + 1], left=max(0, len(rows) - MOST_LINES - 1))
    return Looked(lines=[escaped(line) for line in lines[:MOST_LINES]], left=max(0, len(lines) - MOST_LINES))


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """None of them where it is no table."""
    try:
        rows = [[escaped(cell) for cell in row] for row in csv.reader(lines, delimiter=delimiter, strict=True) if row]
    except csv.Error:
        return []
    width = max(map(len, rows), default=0)
    return [row + [""] * (width - len(row)) for row in rows]
