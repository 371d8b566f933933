"""Tables (csv) as lists of rows, each an object by its columns."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import Any

from fedproc.contract.tool.outputs import ColumnDecl, ContentDecl

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")


def rows_of(raw: bytes, declared: ContentDecl) -> list[dict[str, Any]]:
    """The rows of a table in UTF-8 with commas, whose first line has exactly the declared names.

    An empty cell, or a spelling of a hidden one, is None. Raises ValueError for whatever else it is.
    """
    reader = csv.reader(io.StringIO(raw.decode("utf-8"), newline=""), strict=True)
    names = [column.name for column in declared.columns]
    try:
        if next(reader, None) != names:
            raise ValueError("the first line does not have the declared columns")
        return [_row(cells, declared, number) for number, cells in enumerate(reader, 1)]
    except csv.Error as error:
        raise ValueError("not a table with commas") from error


def _row(cells: list[str], declared: ContentDecl, number: int) -> dict[str, Any]:
    if len(cells) != len(declared.columns) or number > declared.max_rows:
        raise ValueError("a row has too few or too many cells, or there are too many rows")
    return {column.name: _value(cell, column) for column, cell in zip(declared.columns, cells, strict=True)}


def _value(cell: str, column: ColumnDecl) -> Any:
    if cell == "" or cell in column.hidden:
        return None
    if column.type == "category":
        return cell
    if column.type == "integer" and _INTEGER.fullmatch(cell):
        return int(cell)
    if column.type == "number" and _NUMBER.fullmatch(cell) and math.isfinite(float(cell)):
        return float(cell)
    raise ValueError("a cell is not of its column's type")
