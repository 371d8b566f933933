"""A recalled tool's experiments: jobs that are at their hosts are told to stop, and those that are not go no more."""

from __future__ import annotations

import time

from tests.support.books import Books, kinds
from tests.support.sample_tools import DIAL, PORT, need, task, tool

from fedproc.central.db.engine import serialized_transaction
from fedproc.central.experiments.tool_recall import recall
from fedproc.contract.wire.messages import Cancel

GANG = tool(
    "recalled-gang",
    task("server", "server", kind="service", ports=[PORT], ready={"tcp": "grpc"}),
    task("client", "worker", needs=[need("server", "ready")], connections=[DIAL]),
)


def recalled(books: Books, name: str) -> int:
    with serialized_transaction(books.engine) as connection:
        return recall(connection, name, "1.0.0", "it told ages", time.time())


def test_running_jobs_are_told_to_stop_and_their_experiment_ends_as_cancelled(books: Books) -> None:
    books.add_tool(GANG)
    experiment = books.submit(tool="recalled-gang", hosts=["UB", "BSC"])
    books.dispatch()
    books.bring(experiment, "accepted", "prepared")
    books.dispatch()
    assert recalled(books, "recalled-gang") == 1
    sent = books.dispatch()
    told = [message for _, message in sent if isinstance(message, Cancel)]
    assert {message.code for message in told} == {"tool.recalled"}
    assert len(told) == 3
    assert all("version 1.0.0 of tool recalled-gang was recalled" in message.reason for message in told)
    books.bring(experiment, "cancelled")
    assert books.experiment(experiment).state == "cancelled"
    assert recalled(books, "recalled-gang") == 0


def test_what_no_host_has_yet_ends_at_once_and_goes_no_more(books: Books) -> None:
    books.add_tool(GANG)
    experiment = books.submit(tool="recalled-gang", hosts=["UB", "BSC"])
    assert recalled(books, "recalled-gang") == 1
    assert [kind for kind, _ in kinds(books.dispatch()) if kind == "JobOrder"] == []
    assert books.experiment(experiment).state == "cancelled"
