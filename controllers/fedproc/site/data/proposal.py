"""A proposal for ``dataset.json`` by what the tables' files hold (``fedproc data describe``).

It is for a person at the site, who knows what the columns mean: nothing is offered by it alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedproc.site.data.columns import propose_column
from fedproc.site.data.dialect import SURELY_MISSING, decimal_of, encoding_of, separator_of
from fedproc.tables.description import FILE, MISSING, read_json
from fedproc.tables.problems import Problems, one, quoted, shown
from fedproc.tables.records import LARGEST, Records, decoded, split

ENDINGS = frozenset({".csv", ".tsv", ".txt"})
_CERTAIN = frozenset({"utf-8", "utf-16"})
_ACCENTED = re.compile(r"\w*[^\W\x00-\x7f]\w*|[^\x00-\x7f]")
_KEPT = ("id", "version", "description", "source", "show_columns")
_KEPT_OF_COLUMNS = ("unit", "description")


@dataclass
class Proposal:
    """``description`` is the proposed ``dataset.json``; ``notes`` are what a person must look at."""

    description: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def propose(folder: Path) -> Proposal:
    """A description of the tables in the folder; what an earlier ``dataset.json`` says beside it is kept.

    Raises :class:`TableError` if there are none, or none that can be split into rows and cells.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())
    if not files:
        raise one(str(folder), f"a table: a file that ends in {', '.join(sorted(ENDINGS))}")
    contents = {path.name: _raw(path) for path in files}
    encoding = _common_encoding(contents)
    texts = {name: decoded(raw, encoding, name) for name, raw in contents.items()}
    separator = _common({name: separator_of(text) for name, text in texts.items()}, "separator")
    tables = [split(text, name, separator) for name, text in texts.items()]
    _refuse_problems(tables)
    found = _proposal(folder, tables, encoding, separator)
    if encoding not in _CERTAIN:
        found.notes.append(f"the encoding is taken to be {encoding}: are these words right? {_words(texts.values())}")
    return found


def _proposal(folder: Path, tables: Sequence[Records], encoding: str, separator: str) -> Proposal:
    cells = _cells(tables)
    decimal = decimal_of((text.strip() for column in cells.values() for text in column), _usual(cells, separator))
    missing = sorted({text.strip() for column in cells.values() for text in column} & SURELY_MISSING)
    found = Proposal(_head(folder, tables))
    found.description["format"] = {
        "encoding": encoding,
        "separator": separator,
        "decimal": decimal,
        "missing": ["", *sorted({*MISSING, *missing} - {""})],
    }
    found.notes += _notes_on(tables)
    found.description["columns"] = list(_columns(found, cells, decimal, missing))
    _keep_earlier(folder, found.description)
    return found


def _columns(found: Proposal, cells: Mapping[str, list[str]], decimal: str, missing: list[str]) -> Iterable[Any]:
    for header, texts in cells.items():
        proposed = propose_column(header, texts, decimal)
        if "missing" in proposed.entry:
            proposed.entry["missing"] = ["", *sorted({*MISSING, *missing, *proposed.entry["missing"]} - {""})]
        found.notes += [f"column {quoted(header)}: {note}" for note in proposed.notes]
        yield proposed.entry


def _head(folder: Path, tables: Sequence[Records]) -> dict[str, Any]:
    name = re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._") or "dataset"
    only = len(tables) == 1
    named = {_stem(table.file) if not only else "cohort": table.file for table in tables}
    return {"id": name[:64], "version": "1", "description": "", "tables": named}


def _words(texts: Iterable[str]) -> str:
    """Some that have other letters than those of ASCII."""
    accented = dict.fromkeys(word for text in texts for word in _ACCENTED.findall(text))
    return ", ".join(map(shown, list(accented)[:8]))


def _stem(file: str) -> str:
    return Path(file).stem.lower()


def _cells(tables: Sequence[Records]) -> dict[str, list[str]]:
    """The cells of each named column, of all tables together."""
    first = [name for name in tables[0].names if name]
    for table in tables:
        names = [name for name in table.names if name]
        if doubled := sorted(name for name, count in Counter(names).items() if count > 1):
            raise one(table.file, f"each name of a column once; {quoted(doubled[0])} stands there twice", 1)
        if set(names) != set(first):
            other = ", ".join(map(shown, sorted(set(names) ^ set(first))[:5]))
            raise one(table.file, f"the columns of {tables[0].file} (not in both: {other}); give it its own folder", 1)
    return {name: [cells[table.names.index(name)] for table in tables for _, cells in table.rows] for name in first}


def _usual(cells: Mapping[str, list[str]], separator: str) -> str:
    """The decimal mark of most columns, where the cells of some have the one and of some the other."""
    marks = Counter(decimal_of((text.strip() for text in column), "") for column in cells.values())
    comma, point = marks[","], marks["."]
    return "," if comma > point or (comma == point > 0 and separator != ",") else "."


def _notes_on(tables: Sequence[Records]) -> Iterable[str]:
    for table in tables:
        if table.empty:
            yield f"{table.file}: {table.empty} rows without any value are left out"
        if nameless := [n for n, name in enumerate(table.names) if not name and _has_text(table, n)]:
            yield f"{table.file}: column {nameless[0] + 1} has no name and is left out, though it has values"
        if not table.rows:
            yield f"{table.file}: there are no rows below the names of the columns"


def _has_text(table: Records, place: int) -> bool:
    return any(cells[place].strip() for _, cells in table.rows)


def _raw(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise one(path.name, f"at most {LARGEST} bytes")
    raw = path.read_bytes()
    if b"\0" in raw and encoding_of(raw) != "utf-16":
        raise one(path.name, "a text without NUL")
    return raw


def _common_encoding(contents: Mapping[str, bytes]) -> str:
    """That of all the files; one of ASCII alone fits any."""
    found = {name: encoding_of(raw) for name, raw in contents.items() if not raw.isascii()}
    return _common(found or {"": "utf-8"}, "encoding")


def _common(found: Mapping[str, str], what: str) -> str:
    """What all files have. Raises :class:`TableError` if they do not, as one description is of all of them."""
    (first, value), *others = found.items()
    for name, other in others:
        if other != value:
            raise one(name, f"the {what} of {first}, {value!r}; this one seems to have {other!r}")
    return value


def _refuse_problems(tables: Sequence[Records]) -> None:
    all_of_them = Problems()
    for table in tables:
        all_of_them.more += table.problems.more
        for problem in table.problems.kept:
            all_of_them.add(problem)
    all_of_them.raise_any()


def _keep_earlier(folder: Path, description: dict[str, Any]) -> None:
    if not (folder / FILE).exists():
        return
    earlier = read_json(folder / FILE)
    description |= {key: earlier[key] for key in _KEPT if key in earlier}
    columns = earlier.get("columns")
    known = (
        {entry.get("name"): entry for entry in columns if isinstance(entry, dict)} if isinstance(columns, list) else {}
    )
    for entry in description["columns"]:
        entry |= {key: known[entry["name"]][key] for key in _KEPT_OF_COLUMNS if key in known.get(entry["name"], {})}
