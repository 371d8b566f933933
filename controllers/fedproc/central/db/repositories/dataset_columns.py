"""The columns of datasets, in the pages in which heartbeats bring them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select

from fedproc.central.db.schema import dataset_columns
from fedproc.contract.wire import datasets
from fedproc.contract.wire.datasets import DatasetColumns

MOST_PAGES = 1000
"""kept of one host: what a host may have the centre keep is bounded, whatever it says"""

_TABLE = dataset_columns.c


def keep(connection: Connection, host: str, page: DatasetColumns, offered: Sequence[str]) -> bool:
    """Keep a page of a dataset that is among those ``offered``; forget those of other versions, and of others.

    Whether something is known that was not.
    """
    other = (_TABLE.dataset == page.dataset) & or_(_TABLE.version != page.version, _TABLE.pages != page.pages)
    kept = datasets_of(connection, host)
    # named by what is kept, which is bounded: a database takes so many parameters, and a host may offer more
    gone = or_(_TABLE.dataset.in_(sorted(kept - set(offered))), other)
    connection.execute(delete(dataset_columns).where(_TABLE.host == host, gone))
    if page.dataset not in offered or page.page >= page.pages:
        return False
    own = (_TABLE.host == host) & (_TABLE.dataset == page.dataset) & (_TABLE.page == page.page)
    content = page.model_dump(mode="json", include={"columns", "imaging"})
    known = connection.execute(select(_TABLE.columns, _TABLE.imaging).where(own)).first()
    if known is not None and known._asdict() == content:
        return False
    connection.execute(delete(dataset_columns).where(own))
    if connection.execute(select(func.count()).where(_TABLE.host == host)).scalar_one() < MOST_PAGES:
        row = {"host": host, "dataset": page.dataset, "page": page.page, "pages": page.pages, "version": page.version}
        connection.execute(insert(dataset_columns).values(**row, **content))
    return True


def datasets_of(connection: Connection, host: str) -> set[str]:
    """The datasets of a host of which something is kept, in whatever version."""
    return set(connection.execute(select(_TABLE.dataset).where(_TABLE.host == host).distinct()).scalars())


def of_dataset(connection: Connection, host: str, dataset: str, version: str) -> Sequence[Row[Any]]:
    """The pages of one version that have come, in their order."""
    own = (_TABLE.host == host) & (_TABLE.dataset == dataset) & (_TABLE.version == version)
    return connection.execute(select(dataset_columns).where(own).order_by(_TABLE.page)).all()


def types_in(connection: Connection, host: str, dataset: str, version: str) -> dict[str, str] | None:
    """The types of all columns of one version by name; None where not all are known, or more than a host tells may be
    there."""
    pages = of_dataset(connection, host, dataset, version)
    if not pages or len(pages) != pages[0].pages or pages[0].pages == datasets.MOST_PAGES:
        return None
    return {column["name"]: column["type"] for page in pages for column in page.columns}
