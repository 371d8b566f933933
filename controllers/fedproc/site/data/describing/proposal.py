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

from fedproc.site.data.describing.column_names import clean_names, header_of, is_named, named, seems_data
from fedproc.site.data.describing.columns import propose_column
from fedproc.site.data.describing.dialect import SURELY_MISSING, decimal_of
from fedproc.site.data.describing.personal import repeated_persons
from fedproc.site.data.describing.table_files import Dialects, read_tables
from fedproc.tables.description import FILE, MISSING, read_json
from fedproc.tables.problems import Problems, one, quoted, shown
from fedproc.tables.records import Records, split

_CERTAIN = frozenset({"utf-8", "utf-16"})
_ACCENTED = re.compile(r"\w*[^\W\x00-\x7f]\w*|[^\x00-\x7f]")
_KEPT = (
    "id", "version", "description", "title", "creators", "source", "show_columns", "person", "identifying_accepted",
)  # fmt: skip
_KEPT_OF_COLUMNS = ("unit", "description")


@dataclass
class Proposal:
    """``description`` is the proposed ``dataset.json``; ``notes`` are what a person must look at."""

    description: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def propose(folder: Path, given: Mapping[str, str] | None = None) -> Proposal:
    """A description of the tables in the folder; what an earlier ``dataset.json`` says beside it is kept.

    ``given`` are ``separator``, ``decimal`` and ``encoding`` as a person knows them. Raises :class:`TableError` if
    there are no tables, or none that can be split into rows and cells.
    """
    earlier = read_json(folder / FILE) if (folder / FILE).exists() else {}
    form = Dialects(given or {}, earlier.get("format"))
    contents, others = read_tables(folder)
    texts = form.decoded(contents)
    separator = form.separator(texts)
    tables = [split(text, name, separator) for name, text in texts.items()]
    _refuse_problems(tables)
    found = _proposal(folder, tables, form, separator)
    _keep_earlier(earlier, found.description)
    if "person" not in earlier:
        found.notes += repeated_persons(_cells(tables))
    found.notes += others
    if form.encoding not in _CERTAIN:
        accented = _words(texts.values())
        found.notes.append(f"the encoding is taken to be {form.encoding}: are these words right? {accented}")
    return found


def _proposal(folder: Path, tables: Sequence[Records], form: Dialects, separator: str) -> Proposal:
    cells = _cells(tables)
    decimal = form.decimal(cells, _usual(cells, separator))
    missing = sorted({text.strip() for column in cells.values() for text in column} & SURELY_MISSING | form.missing)
    found = Proposal(_head(folder, tables))
    found.description["format"] = {
        "encoding": form.encoding,
        "separator": separator,
        "decimal": decimal,
        "missing": ["", *sorted({*MISSING, *missing} - {""})],
    }
    if any(map(seems_data, tables)):
        found.description["show_columns"] = False
    found.notes += [*form.notes, *_notes_on(tables)]
    found.description["columns"] = list(_columns(found, cells, decimal, missing))
    return found


def _columns(found: Proposal, cells: Mapping[str, list[str]], decimal: str, missing: list[str]) -> Iterable[Any]:
    names = clean_names(cells)
    for header, texts in cells.items():
        proposed = propose_column(header, texts, decimal)
        if "missing" in proposed.entry:
            proposed.entry["missing"] = ["", *sorted({*MISSING, *missing, *proposed.entry["missing"]} - {""})]
        found.notes += [f"column {quoted(header)}: {note}" for note in proposed.notes]
        yield named(proposed.entry, names[header], header)


def _head(folder: Path, tables: Sequence[Records]) -> dict[str, Any]:
    name = re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._") or "dataset"
    only = len(tables) == 1
    files = {"cohort": tables[0].file} if only else _by_stem(tables)
    return {"id": name[:64], "version": "1", "description": "", "tables": files}


def _words(texts: Iterable[str]) -> str:
    """Some that have other letters than those of ASCII."""
    found = dict.fromkeys(word for text in texts for word in _ACCENTED.findall(text))
    return ", ".join(map(shown, list(found)[:8]))


def _by_stem(tables: Sequence[Records]) -> dict[str, str]:
    found: dict[str, str] = {}
    for table in tables:
        stem = Path(table.file).stem.lower()
        if stem in found:
            raise one(
                table.file, f"a name that differs from {shown(found[stem])} before its ending: rename one of them"
            )
        found[stem] = table.file
    return found


def _cells(tables: Sequence[Records]) -> dict[str, list[str]]:
    """The cells of each named column, of all tables together."""
    first = [name for name in tables[0].names if name]
    for table in tables:
        names = [name for name in table.names if name]
        if doubled := sorted(name for name, count in Counter(names).items() if count > 1):
            raise one(
                table.file,
                f"each name of a column once; {quoted(doubled[0])} stands twice (or is the first line a row of data?)",
                table.header_line,
            )
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
            yield f"{table.file}: rows without any value are left out: {table.empty}"
        if nameless := [n for n, name in enumerate(table.names) if not name and _has_text(table, n)]:
            yield f"{table.file}: column {nameless[0] + 1} has no name and is left out, though it has values"
        if seems_data(table):
            yield (
                f"{table.file}: its first line looks like a row of data: put a line with the columns' names above it."
                " Until then researchers see no columns (show_columns)"
            )
        if not table.rows:
            yield f"{table.file}: there are no rows below the names of the columns"


def _has_text(table: Records, place: int) -> bool:
    return any(cells[place].strip() for _, cells in table.rows)


def _refuse_problems(tables: Sequence[Records]) -> None:
    all_of_them = Problems()
    for table in tables:
        all_of_them.more += table.problems.more
        for problem in table.problems.kept:
            all_of_them.add(problem)
    all_of_them.raise_any()


def _keep_earlier(earlier: Mapping[str, Any], description: dict[str, Any]) -> None:
    """What a person wrote of the whole and of columns, which are known again by their headers."""
    description |= {key: earlier[key] for key in _KEPT if key in earlier}
    given = earlier.get("columns")
    known = {header_of(entry): entry for entry in given if is_named(entry)} if isinstance(given, list) else {}
    taken = Counter(entry["name"] for entry in description["columns"])
    for number, entry in enumerate(description["columns"]):
        header = header_of(entry)
        before = known.get(header, {})
        name = before.get("name", entry["name"])
        taken[entry["name"]] -= 1
        kept = named(entry, entry["name"] if taken[name] else name, header)
        taken[kept["name"]] += 1
        description["columns"][number] = kept | {key: before[key] for key in _KEPT_OF_COLUMNS if key in before}
