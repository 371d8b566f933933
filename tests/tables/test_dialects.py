"""Random tables in random dialects: what was written is read as the same values, or refused; never anything else.

``propose`` sees no more than the file, so it may see another type (1 and 0 as a boolean), another spelling of one
category, or the other order of day and month: the first is the same value, the others are noted.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fedproc.site.data.describing.checking import check_dataset
from fedproc.site.data.describing.proposal import propose
from fedproc.tables.description import described
from fedproc.tables.problems import TableError
from fedproc.tables.reading import read_table

pytestmark = pytest.mark.slow


LETTERS = "abcXYZ äéßñ_'\"-.;,|\t/0123456789()€"
WORDS = st.text(LETTERS, min_size=1, max_size=8)
PAIRS = [("1", "0"), ("1.0", "0.0"), ("TRUE", "FALSE"), ("ja", "nein"), ("sí", "no"), ("y", "n")]


@dataclass
class Made:
    """A column as it was meant (``values``) and as it is written (``cells``)."""

    entry: dict[str, Any]
    values: list[Any]
    cells: list[str]


@dataclass
class Dialect:
    separator: str
    decimal: str
    encoding: str
    newline: str
    missing: list[str]
    padding: str
    more_cells: int
    empty_rows: int
    quoting: int
    says_separator: bool


dialects = st.builds(
    Dialect,
    separator=st.sampled_from([",", ";", "\t", "|"]),
    decimal=st.sampled_from([".", ","]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "windows-1252", "iso-8859-15"]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    missing=st.sampled_from([["", "NA"], [""], ["", "n/a", "NULL"]]),
    padding=st.sampled_from(["", " "]),
    more_cells=st.integers(0, 2),
    empty_rows=st.integers(0, 3),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    says_separator=st.booleans(),
)


@st.composite
def columns(draw: st.DrawFn, name: str, rows: int, dialect: Dialect) -> Made:
    kind = draw(st.sampled_from(["integer", "number", "boolean", "category", "date", "text"]))
    entry: dict[str, Any] = {"name": name, "type": kind}
    values, write = draw(VALUES[kind](rows, entry, dialect))
    gone = draw(st.lists(st.sampled_from([None, *dialect.missing]), min_size=rows, max_size=rows))
    cells = [write(value) if missing is None else missing for value, missing in zip(values, gone, strict=True)]
    known = [value if missing is None else None for value, missing in zip(values, gone, strict=True)]
    return Made(entry, known, [dialect.padding + cell + dialect.padding for cell in cells])


def _several(values: st.SearchStrategy[Any], rows: int, write: Any) -> st.SearchStrategy[Any]:
    return st.tuples(st.lists(values, min_size=rows, max_size=rows), st.just(write))


def _numbers(rows: int, _: dict[str, Any], dialect: Dialect) -> st.SearchStrategy[Any]:
    numbers = st.floats(-1e9, 1e9).map(lambda number: round(number, 4))
    return _several(numbers, rows, lambda number: repr(number).replace(".", dialect.decimal))


def _integers(rows: int, _: dict[str, Any], __: Dialect) -> st.SearchStrategy[Any]:
    return _several(st.integers(-(10**9), 10**9), rows, str)


@st.composite
def _booleans(draw: st.DrawFn, rows: int, entry: dict[str, Any], _: Dialect) -> Any:
    true, false = draw(st.sampled_from(PAIRS))
    entry |= {"true": [true], "false": [false]}
    return draw(_several(st.booleans(), rows, lambda value: true if value else false))


@st.composite
def _categories(draw: st.DrawFn, rows: int, entry: dict[str, Any], _: Dialect) -> Any:
    values = draw(st.lists(WORDS.map(str.strip).filter(bool), min_size=1, max_size=4, unique=True))
    entry["values"] = values
    return draw(_several(st.sampled_from(values), rows, str))


@st.composite
def _dates(draw: st.DrawFn, rows: int, entry: dict[str, Any], _: Dialect) -> Any:
    entry["format"] = draw(st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y"]))
    days = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda d: datetime(d.year, d.month, d.day))
    return draw(_several(days, rows, lambda day: day.strftime(entry["format"])))


def _texts(rows: int, _: dict[str, Any], __: Dialect) -> st.SearchStrategy[Any]:
    return _several(st.text(LETTERS + "\n", max_size=10).map(str.strip), rows, str)


VALUES: dict[str, Any] = {
    "integer": _integers,
    "number": _numbers,
    "boolean": _booleans,
    "category": _categories,
    "date": _dates,
    "text": _texts,
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[Dialect, list[Made]]:
    dialect, rows = draw(dialects), draw(st.integers(1, 8))
    names = draw(st.lists(WORDS.map(str.strip).filter(bool), min_size=2, max_size=5, unique=True))
    return dialect, [draw(columns(name, rows, dialect)) for name in names]


def written(dialect: Dialect, made: list[Made]) -> bytes:
    stream = io.StringIO(newline="")
    # Python before 3.13 leaves a line feed bare where lines end otherwise, and then there is one line more.
    bare = dialect.newline == "\r" and any("\n" in cell for column in made for cell in column.cells)
    writer = csv.writer(
        stream,
        delimiter=dialect.separator,
        lineterminator=dialect.newline,
        quoting=csv.QUOTE_ALL if bare else dialect.quoting,  # type: ignore[arg-type]
    )
    if dialect.says_separator:
        stream.write(f"sep={dialect.separator}{dialect.newline}")
    beyond = [""] * dialect.more_cells
    writer.writerow([dialect.padding + column.entry["name"] for column in made] + beyond)
    for cells in zip(*(column.cells for column in made), strict=True):
        writer.writerow([*cells, *beyond])
    for _ in range(dialect.empty_rows):
        writer.writerow([""] * (len(made) + len(beyond)))
    return stream.getvalue().encode(dialect.encoding, "replace")


def meant(dialect: Dialect, made: list[Made]) -> dict[str, list[Any]]:
    """By column, without the rows in which no cell has any text; what the encoding lacks is a question mark."""
    rows = [n for n in range(len(made[0].cells)) if any(column.cells[n].strip() for column in made)]
    encoded = {column.entry["name"]: [column.values[n] for n in rows] for column in made}
    return {_encoded(name, dialect): [_encoded(value, dialect) for value in values] for name, values in encoded.items()}


def _encoded(value: Any, dialect: Dialect) -> Any:
    return value.encode(dialect.encoding, "replace").decode(dialect.encoding) if isinstance(value, str) else value


@given(tables())
def test_table_in_an_odd_dialect_is_read_as_what_was_written_or_refused(table: tuple[Dialect, list[Made]]) -> None:
    dialect, made = table
    form = {
        "separator": dialect.separator,
        "decimal": dialect.decimal,
        "encoding": dialect.encoding.removesuffix("-sig"),
        "missing": dialect.missing,
    }
    given_description = {"tables": {"t": "t.csv"}, "format": form, "columns": [column.entry for column in made]}
    with tempfile.TemporaryDirectory() as name, suppress(TableError):
        (Path(name) / "t.csv").write_bytes(written(dialect, made))
        found = read_table(Path(name), described(given_description), "t").columns
        for header, values in meant(dialect, made).items():
            assert [_known(value, dialect.missing) for value in values] == found[header]


def _known(value: Any, missing: list[str]) -> Any:
    return None if isinstance(value, str) and value.strip() in {"", *missing} else value


@given(tables())
def test_proposal_for_an_odd_dialect_reads_what_was_written_or_notes_what_it_took(
    table: tuple[Dialect, list[Made]],
) -> None:
    dialect, made = table
    with tempfile.TemporaryDirectory() as name, suppress(TableError):
        folder = Path(name)
        raw = written(dialect, made)
        assume(dialect.encoding.startswith("utf") or raw.isascii() or not _is_utf8(raw))
        (folder / "t.csv").write_bytes(raw)
        proposal = propose(folder)
        (folder / "dataset.json").write_text(json.dumps(proposal.description))
        check_dataset(folder)
        description = described(proposal.description)
        read = read_table(folder, description, "cohort").columns
        found = {column.header: read[name] for name, column in description.columns.items()}
        if any(note.startswith("the encoding") for note in proposal.notes) and dialect.encoding != "windows-1252":
            return
        if any("has no name" in note for note in proposal.notes):  # names that are separators: the wrong one was taken
            return
        noted = {header for header in found for note in proposal.notes if repr(header)[1:-1] in note or header in note}
        for header, values in meant(dialect, made).items():
            if header not in noted:
                assert all(map(_same, values, found[header])), (header, values, found[header], proposal)


def _is_utf8(raw: bytes) -> bool:
    """Bytes of another encoding that are UTF-8 by chance: two odd signs side by side, in no word that there is."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _same(value: Any, found: Any) -> bool:
    """1 is True, and a number that was written as a text is that number; NA is nothing, whatever was meant."""
    if found is None:
        return value is None or str(value) in {"", "NA", "NULL", "n/a"}
    if isinstance(found, bool):
        return value in {found, float(found)} or str(value).casefold() in {"1", "0", "1.0", "0.0", "1,0", "0,0"} | {
            text for pair in PAIRS for text in map(str.casefold, pair)
        }
    if isinstance(value, bool) and isinstance(found, str):  # of one letter alone nobody knows what it means
        return found.casefold() in {text.casefold() for pair in PAIRS for text in pair}
    if isinstance(value, str) and isinstance(found, date):  # a text that looks like one is taken for it
        return sorted(map(int, re.findall(r"\d+", value))) == sorted((found.year, found.month, found.day))
    if isinstance(value, str) and isinstance(found, int | float):
        return float(value.replace(",", ".")) == found
    return bool(value == found) or str(value) == found


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_no_bytes_end_in_anything_but_a_refusal(table: bytes, more: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "t.csv").write_bytes(table)
        with suppress(TableError):
            (folder / "dataset.json").write_text(json.dumps(propose(folder).description))
            (folder / "t.csv").write_bytes(more + table)
            check_dataset(folder)
        (folder / "dataset.json").write_bytes(more)
        with suppress(TableError):
            check_dataset(folder)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | WORDS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(WORDS, part, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(
    ["name", "type", "values", "spellings", "missing", "true", "false", "decimal", "format", "header"]
)
entries = st.dictionaries(keys, json_values | st.sampled_from(["category", "boolean", "date", "a"]), max_size=6)


@given(st.lists(entries | json_values, max_size=4), json_values)
def test_no_description_ends_in_anything_but_a_refusal(columns: list[Any], form: Any) -> None:
    with suppress(TableError):
        described({"tables": {"t": "t.csv"}, "columns": columns, "format": form})
    with suppress(TableError):
        described({"tables": form, "columns": form, "format": form})
