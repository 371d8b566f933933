"""The index of datasets: found by what they are, paged by a cursor that holds, kept as the heartbeats say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, insert, select, text, update
from tests.central.conftest import new_database
from tests.support.postgres import DATABASES

from fedproc.central.db.engine import connect, read_transaction, write_transaction
from fedproc.central.db.repositories import dataset_columns, datasets
from fedproc.central.db.repositories.datasets import Wanted, term
from fedproc.central.db.schema import dataset_terms, hosts
from fedproc.central.db.schema import datasets as table
from fedproc.contract.wire.datasets import DatasetColumn, DatasetColumns, ImagingCounts, ImagingSummary, OfferedDataset

pytestmark = pytest.mark.slow


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = connect(new_database(request, request.param, tmp_path))
    yield made
    made.dispose()


def offers(*names: str, **changes: Any) -> list[OfferedDataset]:
    return [OfferedDataset(**{"id": name, "version": "1", "description": f"of {name}"} | changes) for name in names]


def enrol(connection: Connection, *names: str) -> None:
    rows = [{"id": name, "roles": ["data"], "public_key": {}, "enrolled": 0.0, "heard": time.time()} for name in names]
    connection.execute(insert(hosts), rows)


def offer(connection: Connection, host: str, offered: list[OfferedDataset]) -> None:
    known = connection.execute(select(hosts.c.offered).where(hosts.c.id == host)).scalar_one()
    datasets.offer(connection, host, offered, known)


def describe(connection: Connection, host: str, dataset: str, *columns: str, modality: tuple[str, ...] = ()) -> None:
    found = tuple(DatasetColumn(name=name, type="number") for name in columns)
    counts = ImagingCounts(persons=dict.fromkeys(modality, 20))
    imaging = ImagingSummary(floor=10, persons=40, modality=counts) if modality else None
    page = DatasetColumns(dataset=dataset, version="1", page=0, pages=1, columns=found, imaging=imaging)
    assert dataset_columns.keep(connection, host, page, datasets.ids_of(connection, host))
    datasets.describe(connection, host, dataset, "1")


def listed(connection: Connection, after: str | None = None, most: int | None = None, **wanted: Any) -> list[str]:
    return [f"{row.host}:{row.id}" for row in datasets.page(connection, Wanted(**wanted), after, most)]


@pytest.fixture
def filled(engine: Engine) -> Engine:
    with write_transaction(engine) as connection:
        enrol(connection, "BSC", "UB", "GONE")
        offer(connection, "UB", offers("breast", "lung"))
        offer(connection, "BSC", offers("breast", "Zebra".lower(), catalogue="eucaim:b-1"))
        offer(connection, "GONE", offers("old"))
        connection.execute(update(hosts).where(hosts.c.id == "GONE").values(active=False))
        describe(connection, "UB", "breast", "Age", "100%", modality=("CT", "MR"))
        describe(connection, "BSC", "breast", "age")
        describe(connection, "UB", "lung", modality=("CT",))
    return engine


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["BSC:breast", "BSC:zebra", "UB:breast", "UB:lung"]),
        ({"host": "UB"}, ["UB:breast", "UB:lung"]),
        ({"terms": [term("column", "AGE")]}, ["BSC:breast", "UB:breast"]),
        ({"terms": [term("modality", "ct")]}, ["UB:breast", "UB:lung"]),
        ({"terms": [term("modality", "ct"), term("modality", "MR")]}, ["UB:breast"]),
        ({"terms": [term("kind", "images"), term("kind", "tables")]}, ["UB:breast"]),
        ({"terms": [term("column", "100%")]}, ["UB:breast"]),
        ({"terms": [term("column", "%")]}, []),
        ({"terms": [term("column", "age"), term("column", "AGE")]}, ["BSC:breast", "UB:breast"]),
        ({"terms": [term("modality", each) for each in ("CT", "mr", "ct")] + [term("column", "age")]}, ["UB:breast"]),
        ({"terms": [term("modality", "ct"), term("modality", "mr"), term("column", "x")]}, []),
        ({"text": "OF breast ub"}, ["UB:breast"]),
        ({"text": "%"}, []),
        ({"catalogue": "eucaim:b-1"}, ["BSC:breast", "BSC:zebra"]),
        ({"catalogue": "eucaim:b"}, []),
        ({"host": "GONE"}, []),
        ({"persons": 40}, ["UB:breast", "UB:lung"]),
        ({"persons": 41}, []),
        ({"ids": ["UB:lung", "BSC:breast", "MARS:x"]}, ["BSC:breast", "UB:lung"]),
        ({"heard_since": 2e9}, []),
    ],
)
def test_datasets_are_found_by_what_they_are(filled: Engine, wanted: dict[str, Any], found: list[str]) -> None:
    with read_transaction(filled) as connection:
        assert listed(connection, **wanted) == found
        assert datasets.count(connection, Wanted(**wanted)) == len(found)


def test_many_filters_are_one_condition() -> None:
    """A join of each took PostgreSQL's planner more than 15 seconds."""
    terms = [term("column", f"c{number}") for number in range(10)] * 2
    (query,) = [each for each in map(str, Wanted(terms=terms).conditions()) if "dataset_terms" in each]
    assert query.count("FROM dataset_terms") == 1
    words = Wanted(text="a B b A " * 25).conditions()
    assert len(words) == len(Wanted(text="a b").conditions())


def test_datasets_are_sorted_and_counted_as_a_whole(filled: Engine) -> None:
    with write_transaction(filled) as connection:
        offer(connection, "UB", [*offers("breast", size=5), *offers("lung", size=7)])
        offer(connection, "BSC", [*offers("breast", size=6), *offers("zebra")])
        for sort, order in {
            "host": ["BSC:breast", "BSC:zebra", "UB:breast", "UB:lung"],
            "-host": ["UB:lung", "UB:breast", "BSC:zebra", "BSC:breast"],
            "size": ["UB:breast", "BSC:breast", "UB:lung", "BSC:zebra"],
            "-size": ["UB:lung", "BSC:breast", "UB:breast", "BSC:zebra"],
            "-persons": ["UB:breast", "UB:lung", "BSC:breast", "BSC:zebra"],
        }.items():
            found = [_sorted(connection, sort, offset) for offset in (0, 2, 4)]
            assert [name for page, _ in found for name in page] == order, sort
            assert [total for _, total in found] == [4, 4, 4], sort
        page, total = _sorted(connection, "-size", 0, terms=[term("modality", "mr")])
        assert (page, total) == (["UB:breast"], 1)


def _sorted(connection: Connection, sort: str, offset: int, **wanted: Any) -> tuple[list[str], int]:
    rows, total = datasets.sorted_page(connection, Wanted(**wanted), sort, offset, 2)
    return [f"{row.host}:{row.id}" for row in rows], total


def test_filters_are_told_with_their_numbers_and_of_active_hosts_alone(filled: Engine) -> None:
    with read_transaction(filled) as connection:
        assert datasets.filters(connection) == {
            "host": [("BSC", 2), ("UB", 2)], "modality": [("CT", 2), ("MR", 1)], "body_part": [],
        }  # fmt: skip


def test_what_a_list_shows_of_images_follows_their_description(filled: Engine) -> None:
    def told(connection: Connection) -> tuple[Any, ...]:
        (row,) = datasets.page(connection, Wanted(ids=["UB:breast"]), None, None)
        return row.persons, row.modality, row.body_part

    with write_transaction(filled) as connection:
        assert told(connection) == (40, ["CT", "MR"], None)
        offer(connection, "UB", offers("breast", version="2"))
        assert told(connection) == (None, None, None)


def test_pages_follow_one_another_whatever_comes_and_goes(filled: Engine) -> None:
    with write_transaction(filled) as connection:
        assert listed(connection, most=2) == ["BSC:breast", "BSC:zebra"]
        offer(connection, "BSC", offers("alpha", "zoo"))  # the page's last one has gone, others came before and behind
        assert listed(connection, "BSC:zebra", 2) == ["BSC:zoo", "UB:breast"]
        assert listed(connection, "UB:breast", 2) == ["UB:lung"]


def test_what_is_offered_no_more_is_found_no_more_and_a_new_version_forgets_its_terms(filled: Engine) -> None:
    with write_transaction(filled) as connection:
        offer(connection, "UB", offers("breast", version="2"))
        assert listed(connection, host="UB") == ["UB:breast"]
        assert listed(connection, terms=[term("modality", "CT")]) == []
        left = connection.execute(select(func.count()).where(dataset_terms.c.host == "UB")).scalar_one()
        assert left == 0


def test_heartbeat_that_says_nothing_new_writes_nothing(filled: Engine) -> None:
    with write_transaction(filled) as connection:
        connection.execute(update(table).where(table.c.host == "UB").values(description="kept"))
        offer(connection, "UB", offers("breast", "lung"))
        assert {row.description for row in datasets.page(connection, Wanted("UB"), None, None)} == {"kept"}


def test_after_an_upgrade_what_was_told_before_is_described(filled: Engine) -> None:
    with write_transaction(filled) as connection:
        connection.execute(dataset_terms.delete())
        connection.execute(update(hosts).values(offered=None))
        offer(connection, "UB", offers("breast", "lung"))
        assert listed(connection, terms=[term("modality", "CT")]) == ["UB:breast", "UB:lung"]


def test_what_a_host_says_fits_any_database(filled: Engine) -> None:
    odd = offers("odd", description="a\x00b", label="\x00", files=2**70, size=-5)
    with write_transaction(filled) as connection:
        offer(connection, "UB", odd)
        describe(connection, "UB", "odd", "col\x00umn", "Straße")
        (row,) = datasets.page(connection, Wanted("UB"), None, None)
        assert (row.description, row.files, row.size) == ("a\ufffdb", 2**63 - 1, 0)
        assert listed(connection, terms=[term("column", "STRASSE")]) == ["UB:odd"]


@pytest.fixture
def large(engine: Engine) -> Iterator[Engine]:
    """A thousand hosts with a hundred datasets each."""
    names = [f"H{number:04}" for number in range(1000)]
    with write_transaction(engine) as connection:
        enrol(connection, *names)
        for host in names:
            number = int(host[1:])
            rows = [
                {"host": host, "id": f"d{each:03}", "version": "1", "label": "", "description": f"cohort {each}"}
                for each in range(100)
            ]
            connection.execute(insert(table), rows)
            terms = [
                {"term": term("modality", name), "host": host, "dataset": f"d{each:03}"}
                for each in range(100)
                for name in (("CT", "RARE") if (number, each) == (777, 7) else ("CT",))
            ]
            connection.execute(insert(dataset_terms), terms)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
    yield engine


def test_pages_of_100_000_datasets_are_found_by_the_index(large: Engine) -> None:
    """Neither the first page nor one far behind reads what is on other pages."""
    with read_transaction(large) as connection:
        assert listed(connection, most=3) == ["H0000:d000", "H0000:d001", "H0000:d002"]
        assert listed(connection, "H0999:d098", 3) == ["H0999:d099"]
        assert listed(connection, terms=[term("modality", "rare")], most=10) == ["H0777:d007"]
        assert listed(connection, "H0500:d099", 2, terms=[term("modality", "ct")]) == ["H0501:d000", "H0501:d001"]
        everything = _seconds(connection, None, None)
        for after, terms in ((None, ()), ("H0998:d050", ()), ("H0500:d000", [term("modality", "ct")]),
                             (None, [term("modality", "rare")])):  # fmt: skip
            assert _seconds(connection, after, 101, terms) < everything / 10, (after, terms)


def _seconds(connection: Connection, after: str | None, most: int | None, terms: Any = ()) -> float:
    """The least of three."""
    found = []
    for _ in range(3):
        begun = time.perf_counter()
        datasets.page(connection, Wanted(terms=terms), after, most)
        found.append(time.perf_counter() - begun)
    return min(found)
