"""The columns of a dataset as the centre is told them: what its description says, cut to what a message holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedproc.contract.wire.datasets import (
    MOST_PAGES,
    MOST_VALUES,
    NAME_LENGTH,
    PAGE_COLUMNS,
    TEXT_LENGTH,
    DatasetColumn,
    DatasetColumns,
    OfferedDataset,
)
from fedproc.tables.description import FILE, Column, described, read_json

_PAGE_CHARACTERS = 16_000
"""of the columns of one page: one heartbeat has one"""
_AGAIN = 30
"""heartbeats between two pages once the centre was sent all"""


def column_pages(offer: OfferedDataset, folder: Path) -> tuple[DatasetColumns, ...]:
    """All pages of the columns that the dataset's description names; none if it has none, or hides them.

    Raises :class:`TableError` if the description cannot be used, and OSError. Blocks.
    """
    given = read_json(folder / FILE) if (folder / FILE).exists() else {}
    if "columns" not in given or given.get("show_columns", True) is not True:
        return ()
    columns = [_offered(column) for column in described(given).columns.values()]
    pages = _paged(columns)[:MOST_PAGES]
    return tuple(
        DatasetColumns(dataset=offer.id, version=offer.version, page=number, pages=len(pages), columns=tuple(page))
        for number, page in enumerate(pages)
    )


class PageTurner:
    """Which page goes with the next heartbeat: each at once when there is news, then one after the other, seldom."""

    def __init__(self) -> None:
        self._known: tuple[DatasetColumns, ...] = ()
        self._sent = 0
        self._waited = 0

    def next(self, pages: tuple[DatasetColumns, ...]) -> DatasetColumns | None:
        """One of ``pages``, or None where it is not yet time for another."""
        if pages != self._known:
            self._known, self._sent = pages, 0
        if not pages:
            return None
        self._waited += 1
        if self._sent >= len(pages) and self._waited < _AGAIN:
            return None
        self._waited = 0
        page = pages[self._sent % len(pages)]
        self._sent += 1
        return page

    def again(self) -> None:
        """All pages go once more, as the connection is a new one."""
        self._sent = 0


def _offered(column: Column) -> DatasetColumn:
    values = [_text(value, NAME_LENGTH) for value in column.values]
    return DatasetColumn(
        name=_text(column.name, NAME_LENGTH),
        type=column.type,
        unit=_text(column.unit, NAME_LENGTH),
        description=_text(column.description, TEXT_LENGTH),
        values=tuple(values[:MOST_VALUES]),
        more_values=max(0, len(values) - MOST_VALUES),
    )


def _text(text: str, most: int) -> str:
    """As every message can carry it: without halves of surrogate pairs, and cut."""
    return text.encode("utf-8", "replace").decode()[:most]


def _paged(columns: Sequence[DatasetColumn]) -> list[list[DatasetColumn]]:
    pages: list[list[DatasetColumn]] = []
    room = 0
    for column in columns:
        size = len(column.model_dump_json())
        if not pages or size > room or len(pages[-1]) == PAGE_COLUMNS:
            pages.append([])
            room = _PAGE_CHARACTERS
        pages[-1].append(column)
        room -= size
    return pages
