"""Whether the bytes of a document say no more than was read: spellings, blanks and quotes can hold data, too."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

_LONGEST = 25
"""characters of a number"""
_DIGITS = 17
"""of a number that tell one double from all others"""
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][0-9.eE+-]*')
_INDENT = re.compile(r"[\[{]\n(\t|[ ]{1,8})\S")


def is_short_number(text: str) -> bool:
    """Whether it has no more digits than a double has."""
    digits = re.sub(r"[eE].*", "", text).replace(".", "").lstrip("-0").rstrip("0")
    return len(text) <= _LONGEST and len(digits) <= _DIGITS


def check_numbers(text: str) -> None:
    """Raises ValueError for a number of JSON with more digits than it needs."""
    if not all(is_short_number(found[0]) for found in _TOKEN.finditer(text) if found[0][0] != '"'):
        raise ValueError(f"a number has more than {_DIGITS} digits or {_LONGEST} characters")


def is_laid_out(text: str, document: Any) -> bool:
    """Whether JSON is written as libraries write it: on one line or indented, each text in a usual way."""
    wanted = _without_numbers(text.removesuffix("\n"))
    return any(_without_numbers(each) == wanted for each in _written(document, _INDENT.match(text)))


def _without_numbers(text: str) -> str:
    return _TOKEN.sub(lambda found: found[0] if found[0][0] == '"' else "0", text)


def _written(document: Any, indented: re.Match[str] | None) -> Iterator[str]:
    for ascii_alone in (True, False):
        if indented:
            yield json.dumps(document, ensure_ascii=ascii_alone, indent=indented[1])
        else:
            yield json.dumps(document, ensure_ascii=ascii_alone)
            yield json.dumps(document, ensure_ascii=ascii_alone, separators=(",", ":"))


def is_plain_table(text: str, rows: Sequence[Sequence[str]], texts: Sequence[bool]) -> bool:
    """Whether a table (csv) has one end of lines, and quotes where they must be, everywhere, or around all texts.

    ``texts`` says of each column whether it holds texts; all names of columns are.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    return any(each.removesuffix(end) == text.removesuffix(end) for each in _tables(rows, texts, end))


def _tables(rows: Sequence[Sequence[str]], texts: Sequence[bool], end: str) -> Iterator[str]:
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        into = io.StringIO()
        csv.writer(into, quoting=quoting, lineterminator=end).writerows(rows)
        yield into.getvalue()
    yield "".join(_quoted(row, texts if number else [True] * len(row)) + end for number, row in enumerate(rows))


def _quoted(row: Sequence[str], texts: Sequence[bool]) -> str:
    return ",".join(
        '"' + cell.replace('"', '""') + '"' if is_text else cell for cell, is_text in zip(row, texts, strict=False)
    )
