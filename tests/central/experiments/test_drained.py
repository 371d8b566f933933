"""A host that the operator drains gets no new job; what is there goes on, and what waits goes when it is resumed."""

from __future__ import annotations

import time

from tests.support.books import Books, kinds
from tests.support.sample_tools import DIAL, PORT, need, task, tool

from fedproc.central.db.engine import serialized_transaction
from fedproc.central.db.repositories import hosts
from fedproc.central.experiments.advance import advance_waiting

GANG = tool(
    "waits-whole",
    task("server", "server", kind="service", ports=[PORT], ready={"tcp": "grpc"}),
    task("client", "worker", needs=[need("server", "ready")], connections=[DIAL]),
)
SINGLE = tool("single", task("work", "worker"))


def drain(books: Books, host: str, reason: str | None) -> None:
    """As the API does."""
    with serialized_transaction(books.engine) as connection:
        hosts.drain(connection, host, reason)
        if reason is None:
            advance_waiting(connection, time.time())


def test_a_drained_host_gets_no_new_job_and_its_own_go_on(books: Books) -> None:
    books.enrol_everyone()
    books.add_tool(SINGLE)
    before = books.submit(tool="single", hosts=["UB"])
    assert kinds(books.dispatch()) == [("JobOrder", "UB")]
    drain(books, "UB", "its racks are moved")
    after = books.submit(tool="single", hosts=["UB", "BSC"])
    assert kinds(books.dispatch()) == [("JobOrder", "BSC")]
    books.bring(before, "accepted", "running", "succeeded")
    assert books.experiment(before).state == "succeeded"
    assert books.job_on(after, "UB").state == "queued"
    assert books.dispatch() == []
    drain(books, "UB", None)
    assert kinds(books.dispatch()) == [("JobOrder", "UB")]


def test_jobs_of_a_drained_host_are_cancelled_like_others(books: Books) -> None:
    books.enrol_everyone()
    books.add_tool(SINGLE)
    there = books.submit(tool="single", hosts=["UB"])
    books.dispatch()
    drain(books, "UB", "why")
    books.report(books.job_on(there, "UB").id, "failed", code="exit", reason="exit code 1")
    assert books.experiment(there).state == "failed"


def test_a_gang_with_a_drained_host_waits_as_a_whole_and_keeps_no_host_from_others(books: Books) -> None:
    books.enrol_everyone()
    books.add_tool(GANG)
    drain(books, "UB", "its racks are moved")
    waiting = books.submit(tool="waits-whole", hosts=["UB", "BSC"])
    assert books.dispatch() == []
    later = books.submit(tool="waits-whole", hosts=["BSC", "FORTH"])
    assert sorted(host for _, host in kinds(books.dispatch())) == ["BSC", "EUCAIM", "FORTH"]
    books.bring(later, "accepted", "prepared")
    books.dispatch()
    books.report(books.job_on(later, "EUCAIM").id, "running", ready=True)
    books.dispatch()
    drain(books, "UB", None)
    assert sorted(host for kind, host in kinds(books.dispatch()) if kind == "JobOrder") == ["BSC", "EUCAIM", "UB"]
    assert set(books.states(waiting).values()) == {"dispatched"}
