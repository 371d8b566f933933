"""How wide a table's columns are, so that names, dates and numbers stay whole."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

_GAP = 2
"""columns between two of a table without frames"""


def column_widths(rows: Sequence[Sequence[Text]], width: int) -> list[int | None]:
    """Widths for ``width`` columns in all: each holds its longest word, the first its longest cell.

    None for each where that is too much: words have to be folded then.
    """
    columns = list(zip(*rows, strict=True))
    most = [max(cell.cell_len for cell in column) for column in columns]
    least = [most[0], *(max(map(_longest_word, column)) for column in columns[1:])]
    left = width - sum(least) - _GAP * (len(columns) - 1)
    if left < 0:
        return [None] * len(columns)
    found: list[int | None] = list(least)
    by_need = sorted(range(len(columns)), key=lambda number: most[number] - least[number])
    for done, number in enumerate(by_need):
        more = min(most[number] - least[number], left // (len(columns) - done))
        found[number], left = least[number] + more, left - more
    return found


def _longest_word(cell: Text) -> int:
    return max((word.cell_len for word in cell.split(" ")), default=0)
