"""Lists in pages: which part is shown, and the addresses of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedproc.central.api.pages.rendering import query


@dataclass(frozen=True)
class Paging:
    """Part ``number`` (from 1) of ``total`` entries in parts of ``size``; ``filters`` go with each address."""

    number: int
    size: int
    total: int
    path: str
    filters: Mapping[str, Any]

    @property
    def first(self) -> int:
        return min(self.total, (self.number - 1) * self.size + 1)

    @property
    def last(self) -> int:
        return min(self.total, self.number * self.size)

    @property
    def parts(self) -> int:
        return max(1, -(-self.total // self.size))

    def address(self, number: int) -> str:
        """Of another part, under the same filters."""
        return f"{self.path}?{query(**self.filters, page=number if number > 1 else None)}"

    def sorted_by(self, column: str) -> str:
        """Of the first part, by this column; the other way round if it is by this one already."""
        down = self.filters.get("sort") == column
        return f"{self.path}?{query(**{**self.filters, 'sort': f'-{column}' if down else column})}"

    def direction(self, column: str) -> str:
        """``aria-sort`` of the column's heading."""
        sort = self.filters.get("sort")
        return "ascending" if sort == column else "descending" if sort == f"-{column}" else "none"
