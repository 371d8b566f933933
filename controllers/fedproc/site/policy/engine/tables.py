"""Tables (csv) as lists of rows, each an object by its columns."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import Any

from fedproc.contract.tool.outputs import ColumnDecl, ContentDecl
from fedproc.site.policy.engine.layout import is_plain_table, is_short_number

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")


def rows_of(raw: bytes, declared: ContentDecl) -> list[dict[str, Any]]:
    """The rows of a table in UTF-8 with commas, whose first line has exactly the declared names.

    An empty cell, or a spelling of a hidden one, is None. Raises ValueError for whatever else it is, with the row
    and the declared column, and no value.
    """
    text = raw.decode("utf-8")
    try:
        cells = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError("not a table with commas") from error
    if not cells or cells[0] != [column.name for column in declared.columns]:
        raise ValueError("the first line does not have the declared columns")
    if len(cells) - 1 > declared.max_rows:
        raise ValueError("there are more rows than max_rows")
    rows = [_row(row, declared, number) for number, row in enumerate(cells[1:], 1)]
    if not is_plain_table(text, cells, [column.type == "category" for column in declared.columns]):
        raise ValueError("quotes or ends of lines are now this way, now that: have one library write all of it")
    return rows


def _row(cells: list[str], declared: ContentDecl, number: int) -> dict[str, Any]:
    if len(cells) != len(declared.columns):
        raise ValueError(f"row {number} has too few or too many cells")
    return {column.name: _value(cell, column, number) for column, cell in zip(declared.columns, cells, strict=True)}


def _value(cell: str, column: ColumnDecl, number: int) -> Any:
    if cell == "" or cell in column.hidden:
        return None
    if column.type == "category":
        return cell
    if column.type == "integer" and _INTEGER.fullmatch(cell):
        return int(cell)
    if column.type == "number" and _NUMBER.fullmatch(cell) and is_short_number(cell) and math.isfinite(float(cell)):
        return float(cell)
    cure = "write it without a decimal point" if column.type == "integer" else "17 digits at most"
    raise ValueError(f"row {number}, column {column.name}: not of its type {column.type} ({cure})")
