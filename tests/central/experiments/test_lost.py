"""A host is gone for good: its jobs are ended for an operator, or after the silence that the experiment allows."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import update
from tests.central.experiments.test_revocation import SPARING, running_gang
from tests.support.books import Books, kinds
from tests.support.sample_tools import COUNTS, need, task, tool

from fedproc.central.db.engine import read_transaction, serialized_transaction
from fedproc.central.db.repositories import experiments
from fedproc.central.db.schema import hosts
from fedproc.central.experiments import deadlines, lost
from fedproc.common.errors import ConflictError
from fedproc.contract.wire.messages import JobOrder


def lose(books: Books, experiment: str, *only: str) -> None:
    with serialized_transaction(books.engine) as connection:
        lost.end_for_operator(connection, experiment, only, "its machine has burnt", time.time())


def pass_clock(books: Books, at: float, listening: float | None = 0.0) -> bool:
    with serialized_transaction(books.engine) as connection:
        return deadlines.pass_deadlines(connection, at, listening)


def heard(books: Books, at: float, *names: str) -> None:
    with serialized_transaction(books.engine) as connection:
        connection.execute(update(hosts).where(hosts.c.id.in_(names)).values(heard=at))


def test_an_operator_ends_what_is_open_and_its_host_is_told_when_it_comes_back(books: Books) -> None:
    experiment = books.submit(tool="chain", hosts=["UB", "BSC"])
    books.dispatch()
    books.report(books.job_on(experiment, "UB").id, "running")
    lose(books, experiment)
    assert books.states(experiment) == {"local@UB": "lost", "local@BSC": "lost", "total@EUCAIM": "cancelled"}
    assert books.experiment(experiment).state == "lost"
    assert "its machine has burnt" in books.job_on(experiment, "UB").reason
    assert kinds(books.dispatch()) == [("Cancel", "UB"), ("Cancel", "BSC")]
    books.report(books.job_on(experiment, "UB").id, "failed")
    assert books.states(experiment)["local@UB"] == "lost", "what it says later is kept beside it"


@pytest.mark.slow
def test_one_job_is_ended_and_the_tool_says_what_becomes_of_the_rest(books: Books) -> None:
    books.add_tool(SPARING)
    experiment = running_gang(books, "sparing", "UB", "BSC", "FORTH")
    lose(books, experiment, books.job_on(experiment, "UB").id)
    assert books.states(experiment) == {
        "server@EUCAIM": "running", "client@UB": "lost", "client@BSC": "running", "client@FORTH": "running",
    }  # fmt: skip
    assert books.experiment(experiment).state == "running"


def test_what_has_ended_cannot_be_lost(books: Books) -> None:
    experiment = books.submit(tool="lone", hosts=["UB", "BSC"])
    books.dispatch()
    ended = books.job_on(experiment, "UB").id
    books.report(ended, "refused")
    with pytest.raises(ConflictError, match=ended):
        lose(books, experiment, ended)
    lose(books, experiment)
    with pytest.raises(ConflictError, match="already ended"):
        lose(books, experiment)


@pytest.mark.slow
def test_a_silent_host_is_lost_after_what_the_experiment_says_and_the_others_go_on(books: Books) -> None:
    books.add_tool(SPARING)
    now = time.time()
    experiment = books.submit(tool="sparing", hosts=["UB", "BSC", "FORTH"], lost_after=300)
    patient = books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    books.bring(experiment, "accepted", "prepared")
    books.dispatch()
    books.report(books.job_on(experiment, "EUCAIM").id, "running", ready=True)
    books.dispatch()
    books.bring(experiment, "running", task="client")
    heard(books, now + 299, "BSC", "FORTH", "EUCAIM")
    assert not pass_clock(books, now + 280)
    assert not pass_clock(books, now + 320, listening=None)
    assert not pass_clock(books, now + 320, listening=now + 100), "it was the relay that did not hear"
    assert pass_clock(books, now + 320)
    assert not pass_clock(books, now + 321)
    states = books.states(experiment)
    assert states.pop("client@UB") == "lost"
    assert set(states.values()) == {"running"}
    assert books.states(patient) == {"work@UB": "dispatched"}
    books.bring(experiment, "succeeded")
    assert books.experiment(experiment).state == "succeeded"


def test_a_tool_says_when_a_silent_host_counts_as_lost_and_the_experiment_may_say_otherwise(books: Books) -> None:
    books.add_tool(tool("hasty", task("work", "worker"), on_host_lost={"lost_after": 300}))
    now = time.time()
    by_tool = books.submit(tool="hasty", hosts=["UB"])
    by_experiment = books.submit(tool="hasty", hosts=["UB"], lost_after=600)
    books.dispatch()
    assert pass_clock(books, now + 320)
    assert books.states(by_tool)["work@UB"] == "lost"
    assert "lost" not in books.states(by_experiment).values()
    assert pass_clock(books, now + 620)
    assert books.states(by_experiment)["work@UB"] == "lost"


PATIENT = tool(
    "patient",
    task("local", outputs=[COUNTS]),
    task("total", "server", needs=[need("local", "exited")],
         inputs=[{"name": "counts", "kind": "output", "task": "local", "output": "counts"}]),
    on_host_lost={"action": "continue", "min_hosts": 2},
)  # fmt: skip


def test_a_success_without_a_host_says_so_and_the_later_task_is_told_who_is_there(books: Books) -> None:
    books.add_tool(PATIENT)
    experiment = books.submit(tool="patient", hosts=["UB", "BSC", "FORTH"])
    books.dispatch()
    books.report(books.job_on(experiment, "BSC").id, "failed")
    books.bring(experiment, "running", "succeeded", task="local")
    (order,) = [message for _, message in books.dispatch() if isinstance(message, JobOrder)]
    assert order.hosts == {"local": ("UB", "FORTH"), "total": ("EUCAIM",)}
    books.bring(experiment, "running", "succeeded", task="total")
    assert books.experiment(experiment).state == "succeeded"
    last = books.events(experiment)[-1]
    assert (last.job, last.data["state"], last.data["reason"]) == (None, "succeeded", "without BSC")
    with read_transaction(books.engine) as connection:
        assert experiments.succeeded_without(connection, [experiment]) == {experiment: {"BSC"}}
