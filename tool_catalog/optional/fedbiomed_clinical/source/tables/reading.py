"""A table read through its description: every cell of the described columns is a value of its column, or told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .description import SEPARATORS, Column, Description, hint
from .problems import Problem, Problems, one, quoted
from .records import Records, read_records
from .values import UnexpectedError, Value, expected, value_of


@dataclass(frozen=True)
class Table:
    """The values of some columns by name. ``lines`` are the numbers of the rows' lines in the file."""

    file: str
    lines: tuple[int, ...]
    columns: dict[str, list[Value]]
    empty: int = 0


def read_table(folder: Path, description: Description, name: str, columns: Iterable[str] | None = None) -> Table:
    """The named columns (all that are described, unless given) of one of the dataset's tables.

    Columns are found by their names, in whatever order the file has them; others may stand beside them. Raises
    :class:`TableError` with all that is wrong in these columns and in the rows' numbers of cells.
    """
    wanted = [description.column(one_name) for one_name in (description.columns if columns is None else columns)]
    records = read_records(folder / description.table(name), description.format)
    return table_of(records, wanted)


def table_of(records: Records, wanted: Sequence[Column]) -> Table:
    """The records' cells as values of the columns. Raises :class:`TableError`."""
    problems = records.problems
    places = {column.name: _place(records, column, problems) for column in wanted}
    problems.raise_any()
    values = {column.name: _values(records, column, places[column.name], problems) for column in wanted}
    problems.raise_any()
    if not records.rows:
        raise one(records.file, "rows below the names of the columns")
    return Table(records.file, tuple(line for line, _ in records.rows), values, records.empty)


def _place(records: Records, column: Column, problems: Problems) -> int:
    """Where the column is; a problem if it is not there exactly once."""
    count = records.names.count(column.header)
    if count == 1:
        return records.names.index(column.header)
    what, found = ("once", f"{count} of them") if count else ("in the first line", None)
    problems.add(
        Problem(
            records.file,
            f"a column {quoted(column.header)} {what}" + _single(records),
            records.header_line,
            column.name,
            found,
            "" if count else hint(column.header, [name for name in records.names if name]),
            None if column.public else "each column that dataset.json names once in the first line" + _single(records),
        )
    )
    return 0


def _single(records: Records) -> str:
    [single, *more] = records.names
    other = next((mark for mark in SEPARATORS if mark in single), None)
    return (
        f"; its names seem to be separated by {other!r} (format.separator in dataset.json)"
        if other and not more
        else ""
    )


def _values(records: Records, column: Column, place: int, problems: Problems) -> list[Value]:
    """The column's values; cells are read once for each text, as most columns have few."""
    read, known, values = value_of(column), dict[str, Value](), list[Value]()
    for line, cells in records.rows:
        text = cells[place]
        if text not in known:
            try:
                known[text] = read(text)
            except UnexpectedError:
                outside = None if column.public else expected(column, named=False)
                problems.add(Problem(records.file, expected(column), line, column.name, text.strip(), outside=outside))
                continue
        values.append(known[text])
    return values
