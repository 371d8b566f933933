"""The columns that hosts tell of their datasets."""

from __future__ import annotations

from tests.support.books import Books

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import dataset_columns
from fedproc.contract.wire.datasets import DatasetColumn, DatasetColumns


def page(dataset: str, version: str = "1") -> DatasetColumns:
    column = DatasetColumn.model_validate({"name": "age", "type": "integer"})
    return DatasetColumns(dataset=dataset, version=version, page=0, pages=1, columns=(column,))


def test_a_host_that_offers_more_than_a_statement_has_parameters_stops_nothing(books: Books) -> None:
    """PostgreSQL takes 65,535 of them."""
    many = ["a", *(f"d{number}" for number in range(70_000))]
    with write_transaction(books.engine) as connection:
        dataset_columns.keep(connection, "UB", page("gone"), ["gone"])
        dataset_columns.keep(connection, "UB", page("a"), many)
    with read_transaction(books.engine) as connection:
        assert dataset_columns.of_dataset(connection, "UB", "gone", "1") == []
        assert len(dataset_columns.of_dataset(connection, "UB", "a", "1")) == 1
