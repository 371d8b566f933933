"""Tables as pandas has them: for tools, whose environments have it. fedproc's own programs do without."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from .description import Column, Description, read_description
from .problems import Problem, Problems, TableError, one
from .reading import Table, read_table


class Dataset:
    """One dataset's folder, as a tool gets it. Every method raises :class:`TableError` for what cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.description: Description = read_description(folder)

    @classmethod
    def only(cls, folder: Path) -> Dataset:
        """The one dataset in an input's folder, ``INPUT/DATASET/``."""
        found = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        if len(found) != 1:
            given = ", ".join(found) or "none"
            raise one("datasets", f"one dataset a host; this one was given {given}: choose one")
        return cls(folder / found[0])

    def column(self, name: str) -> Column:
        """What the description says of a column."""
        return self.description.column(name)

    def frame(self, table: str, columns: Iterable[str]) -> pd.DataFrame:
        """The columns as Int64, float64, boolean, category, datetime64 or object; the index is the rows' lines.

        A value that is missing is ``pd.NA``, NaN, NaT or None, as the type has it.
        """
        names = list(dict.fromkeys(columns))
        read = read_table(self._folder, self.description, table, names)
        index = pd.Index(read.lines, name="line")
        series = {name: _series(read, self.column(name), index) for name in names}
        return pd.DataFrame(series, index=index, columns=names)

    def file(self, table: str) -> str:
        """The name of a table's file."""
        return self.description.table(table)

    def refuse(self, table: str, rows: pd.Series, expected: str) -> None:
        """Raise :class:`TableError` naming the lines where ``rows``, a truth by line of one column, is true."""
        problems = Problems()
        outside = None if self.description.public else expected
        for line in rows.index[rows.to_numpy(dtype=bool, na_value=False)]:
            problems.add(Problem(self.file(table), expected, int(line), str(rows.name), outside=outside))
        problems.raise_any()


def _series(table: Table, column: Column, index: pd.Index) -> pd.Series:
    values = table.columns[column.name]
    if column.type == "category":
        return pd.Series(pd.Categorical(values, categories=list(column.values), ordered=True), index=index)
    return pd.Series(values, index=index, dtype=_TYPES[column.type])


_TYPES = {"integer": "Int64", "number": "float64", "boolean": "boolean", "date": "datetime64[s]", "text": "object"}

__all__ = ["Dataset", "TableError"]
