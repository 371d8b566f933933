"""Every table of a dataset held to its description (``fedproc data check``), as tools do when they read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fedproc.site.data.describing.table_files import refuse_link_outside
from fedproc.tables.description import Description, read_description
from fedproc.tables.problems import Problem, Problems, TableError, quoted
from fedproc.tables.reading import table_of
from fedproc.tables.records import Records, read_records


@dataclass(frozen=True)
class Checked:
    """A table that can be read: its rows, the rows without any value, and the columns that nothing describes."""

    table: str
    file: str
    rows: int
    empty: int
    undescribed: tuple[str, ...]

    def line(self) -> str:
        """One line for people."""
        left_out = f", {self.empty} without any value left out" if self.empty else ""
        beside = f"; not described: {', '.join(map(quoted, self.undescribed))}" if self.undescribed else ""
        return f"{self.file} ({self.table}): {self.rows} {'row' if self.rows == 1 else 'rows'}{left_out}{beside}"


def check_dataset(folder: Path) -> list[Checked]:
    """Read all tables of the dataset. Raises :class:`TableError` with what is wrong in all of them together."""
    description = read_description(folder)
    problems, checked = Problems(), []
    for table in description.tables:
        try:
            checked.append(_check(folder, description, table))
        except TableError as error:
            _add(problems, error.problems, error.more)
    problems.raise_any()
    return checked


def _check(folder: Path, description: Description, table: str) -> Checked:
    refuse_link_outside(folder / description.tables[table])
    records = read_records(folder / description.tables[table], description.format)
    read = table_of(records, list(description.columns.values()))
    return Checked(table, read.file, len(read.lines), read.empty, _undescribed(records, description))


def _undescribed(records: Records, description: Description) -> tuple[str, ...]:
    headers = {column.header for column in description.columns.values()}
    return tuple(name for name in records.names if name and name not in headers)


def _add(problems: Problems, found: Iterable[Problem], more: int) -> None:
    problems.more += more
    for problem in found:
        problems.add(problem)
