"""What the hosts of one experiment have in common is kept once, and each of them gets it all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Row, Text, cast, func, insert, select, update
from tests.support.books import Books
from tests.support.sample_tools import task, tool

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.schema import hosts, jobs, metadata, outbox, shared
from fedproc.contract.wire.messages import JobOrder, Start

MANY = 1_000
MB = 1_000_000
WIDE = tool(
    "wide",
    task("work", "worker"),
    parameters={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "model": {"type": "string"},
            "column": {"type": "string", "default": "age", "x-scope": "host"},
        },
    },
)


def written(books: Books) -> int:
    """Bytes of all values in the database, as texts."""
    with read_transaction(books.engine) as connection:
        return sum(
            connection.scalar(select(func.coalesce(func.sum(func.length(cast(column, Text))), 0))) or 0
            for table in metadata.sorted_tables
            for column in table.columns
        )


def enrol_many(books: Books) -> list[str]:
    names = [f"H{number:04}" for number in range(MANY)]
    like = {"roles": ["data"], "public_key": books.hosts.enrolment("UB").public_key, "enrolled": 0.0, "active": True}
    with write_transaction(books.engine) as connection:
        connection.execute(insert(hosts), [{"id": name, "site": "", **like} for name in names])
    books.hosts.keys |= dict.fromkeys(names, books.hosts.keys["UB"])
    return names


def report(books: Books, rows: Sequence[Row[Any]], state: str, **more: Any) -> None:
    """All of them at once."""
    said = [(row.host, books.hosts.seal(row.host, books.hosts.snapshot(row, state, **more))) for row in rows]
    books.take(*said)


@pytest.mark.slow
def test_parameters_of_a_thousand_hosts_are_written_once_and_each_gets_them(books: Books) -> None:
    books.add_tool(WIDE)
    names, model = enrol_many(books), "m" * 64_000
    before = written(books)
    experiment = books.submit(tool="wide", hosts=names, parameters={"model": model})
    sent = books.dispatch()
    assert written(books) - before < 3 * MB
    assert sorted(host for host, _ in sent) == names
    orders = [order for _, order in sent if isinstance(order, JobOrder)]
    assert {(order.experiment, order.parameters["model"], order.parameters["column"]) for order in orders} == {
        (experiment, model, "age")
    }
    assert len({order.job for order in orders}) == MANY


def test_a_host_with_parameters_of_its_own_keeps_those_alone(books: Books) -> None:
    books.add_tool(WIDE)
    own = {"UB": {"column": "height"}}
    experiment = books.submit(tool="wide", hosts=["UB", "BSC"], parameters={"model": "m" * 9_000}, host_parameters=own)
    assert books.job_on(experiment, "UB").order["parameters"] == {"column": "height"}
    assert "parameters" not in books.job_on(experiment, "BSC").order
    orders = {host: order.parameters for host, order in books.dispatch() if isinstance(order, JobOrder)}
    assert orders == {host: {"model": "m" * 9_000, "column": c} for host, c in (("UB", "height"), ("BSC", "age"))}


@pytest.mark.slow
def test_a_thousand_peers_in_one_dispatch(books: Books) -> None:
    names = enrol_many(books)
    before = written(books)
    experiment = books.submit(tool="gang", hosts=names)
    assert len(books.dispatch()) == MANY + 1
    report(books, books.jobs(experiment), "prepared")
    server = books.job_on(experiment, "EUCAIM")
    ((host, start),) = books.dispatch()
    assert (host, isinstance(start, Start) and len(start.peers)) == ("EUCAIM", MANY)
    books.report(server.id, "running", ready=True)
    started = {host: start for host, start in books.dispatch() if isinstance(start, Start)}
    assert sorted(started) == names
    assert {len(start.peers) for start in started.values()} == {1}
    assert written(books) - before < 12 * MB


def as_before(books: Books) -> None:
    """Write the rows as the release before does: whole, with nothing shared."""
    with write_transaction(books.engine) as connection:
        parts = {row.id: row.value for row in connection.execute(select(shared))}
        for table, column in ((jobs, "order"), (outbox, "message")):
            for row in connection.execute(select(table)).all():
                whole: dict[str, Any] = {}
                for part in row.shared or ():
                    whole |= parts[part]
                values = {column: whole | row._mapping[column], "shared": None}
                connection.execute(update(table).where(table.c.id == row.id).values(**values))
        connection.execute(shared.delete())


@pytest.mark.slow
def test_rows_of_the_release_before_still_go_out(books: Books) -> None:
    books.add_tool(WIDE)
    parameters = {"model": "m" * 3_000, "column": "age"}
    at_once = books.submit(tool="wide", hosts=["UB"], parameters=parameters)
    later = books.submit(tool="gang", hosts=["UB"])
    as_before(books)
    sent = [order for _, order in books.dispatch() if isinstance(order, JobOrder)]
    assert [order.parameters for order in sent if order.experiment == at_once] == [parameters]
    assert {order.task for order in sent if order.experiment == later} == {"server", "client"}
    report(books, books.jobs(later), "prepared")
    assert [type(message) for _, message in books.dispatch()] == [Start]


def test_a_job_that_the_release_before_drafted_goes_out_when_it_may(books: Books) -> None:
    experiment = books.submit(tool="chain", hosts=["UB", "BSC"])
    assert len(books.dispatch()) == 2
    as_before(books)
    books.bring(experiment, "running", "succeeded", task="local")
    ((host, order),) = books.dispatch()
    assert isinstance(order, JobOrder)
    assert (host, order.experiment, order.tool.id) == ("EUCAIM", experiment, "chain")
