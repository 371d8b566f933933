"""Whose a row is, as the dataset says: one person may have several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from regression.design import only_table
from regression.faults import Fault
from tables.description import FILE, Column, Description, read_json
from tables.frame import Dataset
from tables.reading import table_of
from tables.records import read_records


def whose_rows(datasets: Path, table: str) -> npt.NDArray[np.int64]:
    """The person of each of a table's rows, by number from 0: by the column ``person``, or else each row is one.

    ``datasets`` has one dataset, ``table`` is a name or the empty one of its only table. Raises Fault where nobody
    knows whose a row is, or TableError.
    """
    dataset = Dataset.only(datasets)
    folder = next(path for path in datasets.iterdir() if path.is_dir())
    records = read_records(folder / dataset.file(only_table(dataset, table)), dataset.description.format)
    person = read_json(folder / FILE).get("person")
    if person is None:
        return np.arange(len(records.rows))
    column = _column(dataset.description, str(person))
    cells = pd.Series(table_of(records, [column]).columns[column.name], dtype="object")
    if cells.isna().any():
        raise Fault(f"dataset: {records.file}: with epsilon each row needs a value in its column of persons")
    return np.asarray(pd.factorize(cells)[0], dtype=np.int64)


def _column(about: Description, person: str) -> Column:
    header = next((found.header for found in about.columns.values() if person in (found.name, found.header)), person)
    return Column(person, "text", header, missing=about.format.missing, public=about.public)
