"""What is written for hosts when an experiment moves on."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import insert
from tests.support.books import Books, kinds
from tests.support.sample_tools import need, task, tool

from fedproc.central.db.engine import serialized_transaction, write_transaction
from fedproc.central.db.repositories import experiments
from fedproc.central.db.schema import files
from fedproc.central.experiments.advance import advance, advance_waiting
from fedproc.contract.ids import new_id
from fedproc.contract.wire.messages import Finish, JobOrder, Start


def _output(books: Books, job: Any, output: str, path: str, **more: Any) -> str:
    """A released output of a job, complete in the file store's books."""
    values = {
        "id": new_id("f"), "owner": "rosa", "path": path, "state": "complete", "size": 1, "sha256": "0" * 64,
        "media_type": "text/plain", "experiment": job.experiment, "job": job.id, "host": job.host, "task": job.task,
        "output": output, "created": time.time(), **more,
    }  # fmt: skip
    with write_transaction(books.engine) as connection:
        connection.execute(insert(files).values(**values))
    return str(values["id"])


def _cancel(books: Books, experiment: str) -> None:
    with serialized_transaction(books.engine) as connection:
        experiments.request_cancel(connection, experiment)
        advance(connection, experiment, time.time())


def test_a_later_task_gets_the_released_outputs_of_those_that_succeeded(books: Books) -> None:
    experiment = books.submit(tool="chain", hosts=["UB", "BSC"])
    orders = [message for _, message in books.dispatch()]
    assert all(isinstance(order, JobOrder) and not order.gang and order.inputs == () for order in orders)
    given = {host: _output(books, books.job_on(experiment, host), "counts", "counts.json") for host in ("UB", "BSC")}
    books.bring(experiment, "succeeded", task="local")
    ((host, total),) = books.dispatch()
    assert host == "EUCAIM"
    assert isinstance(total, JobOrder)
    assert {(ref.host, ref.file, ref.path, ref.input) for ref in total.inputs} == {
        (host, file, f"{host}/counts.json", "counts") for host, file in given.items()
    }
    assert books.job_on(experiment, "EUCAIM").told == ["job"]


def test_a_gang_is_told_its_hosts_its_keys_and_its_peers(books: Books) -> None:
    experiment = books.submit(tool="gang", hosts=["UB", "BSC"])
    orders = {host: order for host, order in books.dispatch() if isinstance(order, JobOrder)}
    assert set(orders) == {"UB", "BSC", "EUCAIM"}
    assert all(order.gang for order in orders.values())
    assert all(order.hosts == {"server": ("EUCAIM",), "client": ("UB", "BSC")} for order in orders.values())
    keys = orders["EUCAIM"].recipients
    assert {host: key["kid"] for host, key in keys.items()} == {
        host: books.hosts.keys[host].thumbprint() for host in ("UB", "BSC")
    }, "the server encrypts its kit to these"
    assert orders["UB"].recipients == {}
    books.bring(experiment, "prepared")
    ((host, start),) = books.dispatch()
    assert (host, type(start)) == ("EUCAIM", Start)
    assert isinstance(start, Start)
    clients = {row.host: row.id for row in books.jobs(experiment) if row.task == "client"}
    assert {(peer.task, peer.host, peer.job) for peer in start.peers} == {
        ("client", host, job) for host, job in clients.items()
    }, "only these may come in"
    server = books.job_on(experiment, "EUCAIM")
    books.report(server.id, "running")
    kit = _output(books, server, "kit", "kit.zip", recipient="UB")
    books.report(server.id, "running", ready=True)
    starts = {host: message for host, message in books.dispatch() if isinstance(message, Start)}
    assert set(starts) == {"UB", "BSC"}
    (peer,) = starts["UB"].peers
    assert (peer.task, peer.job, peer.address) == ("server", server.id, "127.0.0.1:7000")
    assert peer.server_names == {"grpc": f"8080-{server.id}.eucaim.jobs.fedproc.internal"}
    assert [ref.file for ref in starts["UB"].artefacts] == [kit]
    assert starts["BSC"].artefacts == ()
    books.bring(experiment, "running", "succeeded", task="client")
    ((host, finish),) = books.dispatch()
    assert (host, finish) == ("EUCAIM", Finish(job=server.id))
    books.report(server.id, "succeeded")
    assert books.experiment(experiment).state == "succeeded"


def test_the_same_artefact_of_several_hosts_has_a_place_each(books: Books) -> None:
    given = {"name": "kit", "path": "kit.zip", "disclosure": "public", "artefact_for": ["sum"]}
    local = task("local", "worker", kind="service", ready={"file": "kit.zip"}, outputs=[given])
    books.add_tool(tool("many", local, task("sum", "server", needs=[need("local", "ready")])))
    experiment = books.submit(tool="many", hosts=["UB", "BSC"])
    books.dispatch()
    books.bring(experiment, "prepared")
    books.dispatch()
    for host in ("UB", "BSC"):
        job = books.job_on(experiment, host)
        books.report(job.id, "running")
        _output(books, job, "kit", "kit.zip", recipient="EUCAIM")
        books.report(job.id, "running", ready=True)
    ((host, start),) = books.dispatch()
    assert (host, type(start)) == ("EUCAIM", Start)
    assert isinstance(start, Start)
    assert {ref.path for ref in start.artefacts} == {"local/kit/UB/kit.zip", "local/kit/BSC/kit.zip"}


def test_a_cancel_takes_back_what_no_relay_has_claimed(books: Books) -> None:
    experiment = books.submit(tool="lone", hosts=["UB", "BSC"])
    assert len(books.outbox()) == 2
    _cancel(books, experiment)
    assert books.outbox() == []
    assert books.states(experiment) == {"work@UB": "cancelled", "work@BSC": "cancelled"}
    row = books.experiment(experiment)
    assert (row.state, row.ended is not None) == ("cancelled", True)
    assert books.dispatch() == []


def test_a_cancel_of_what_was_claimed_goes_to_the_host(books: Books) -> None:
    experiment = books.submit(tool="lone", hosts=["UB"])
    claimed = books.publisher()._claim(time.time())
    assert len(claimed) == 1
    _cancel(books, experiment)
    assert [row.kind for row in books.outbox()] == ["job", "cancel"]
    assert books.states(experiment) == {"work@UB": "dispatched"}
    assert books.experiment(experiment).state == "running"


# -- gangs that want the same hosts


@pytest.mark.slow
def test_gangs_go_one_after_the_other_the_first_first(books: Books) -> None:
    one, two, three = (books.submit(tool="gang", hosts=["UB", "BSC"]) for _ in range(3))
    assert {order.experiment for _, order in books.dispatch() if isinstance(order, JobOrder)} == {one}
    books.bring(one, "accepted", "materialising")
    assert books.dispatch() == []
    books.bring(one, "prepared")
    books.dispatch()
    _start(books, one)
    told = books.dispatch()
    assert {m.experiment for _, m in told if isinstance(m, JobOrder)} == {two}, "the first has its hosts: the next may"
    _cancel(books, two)
    assert {kind for kind, _ in kinds(books.dispatch())} == {"Cancel"}
    books.bring(two, "cancelled")
    assert {m.experiment for _, m in books.dispatch() if isinstance(m, JobOrder)} == {three}


def _start(books: Books, experiment: str) -> None:
    server = books.job_on(experiment, "EUCAIM")
    books.report(server.id, "running", ready=True)


def test_a_gang_that_waits_keeps_its_hosts_from_later_ones(books: Books) -> None:
    """FORTH is free, but the second gang waits for UB, which it needs too: the third may not take FORTH from it."""
    first = books.submit(tool="gang", hosts=["UB"])
    second = books.submit(tool="gang", hosts=["UB", "FORTH"])
    third = books.submit(tool="gang", hosts=["FORTH"])
    assert {order.experiment for _, order in books.dispatch() if isinstance(order, JobOrder)} == {first}
    _cancel(books, first)
    books.bring(first, "cancelled")
    sent = {order.experiment for _, order in books.dispatch() if isinstance(order, JobOrder)}
    assert sent == {second}
    assert set(books.states(third).values()) == {"queued"}


@pytest.mark.slow
def test_whatever_becomes_of_the_first_gang_the_next_one_goes(books: Books) -> None:
    for end in ("failed", "error", "refused", "expired"):
        one, two = (books.submit(tool="gang", hosts=["UB"]) for _ in range(2))
        books.dispatch()
        books.report(books.job_on(one, "UB").id, end)
        books.dispatch()
        books.bring(one, "cancelled")
        assert {o.experiment for _, o in books.dispatch() if isinstance(o, JobOrder)} <= {two}
        assert set(books.states(two).values()) == {"dispatched"}, end
        _cancel(books, two)
        books.dispatch()
        books.bring(two, "cancelled")


def test_single_jobs_do_not_wait_for_gangs(books: Books) -> None:
    books.submit(tool="gang", hosts=["UB"])
    alone = books.submit(tool="lone", hosts=["UB"])
    assert alone in {order.experiment for _, order in books.dispatch() if isinstance(order, JobOrder)}


def test_advancing_again_changes_nothing(books: Books) -> None:
    experiment = books.submit(tool="gang", hosts=["UB"])
    books.submit(tool="gang", hosts=["UB"])
    before = books.outbox()
    with serialized_transaction(books.engine) as connection:
        advance(connection, experiment, time.time())
        advance_waiting(connection, time.time())
    assert books.outbox() == before
