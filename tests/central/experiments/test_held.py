"""Gangs that are prepared ahead: they keep no host from others while they are held, and acquire all theirs at once."""

from __future__ import annotations

import time

from tests.support.books import Books, kinds

from fedproc.central.db.engine import serialized_transaction
from fedproc.central.experiments import held


def start(books: Books, experiment: str) -> None:
    with serialized_transaction(books.engine) as connection:
        held.start(connection, experiment, None, time.time())


def laid_out(books: Books) -> str:
    for host in ("UB", "EUCAIM"):
        books.beat(host, ahead=True)
    experiment = books.submit(tool="gang", hosts=["UB"], prepare=True)
    books.dispatch()
    books.bring(experiment, "accepted", "materialising")
    books.bring(experiment, "materialising", ready=True)
    return experiment


def test_held_gang_keeps_no_host_from_another(books: Books) -> None:
    laid_out(books)
    assert books.dispatch() == []
    books.submit(tool="gang", hosts=["UB"])
    assert sorted(kinds(books.dispatch())) == [("JobOrder", "EUCAIM"), ("JobOrder", "UB")]


def test_started_gang_waits_for_the_one_that_has_its_hosts_and_then_goes_whole(books: Books) -> None:
    first = laid_out(books)
    second = books.submit(tool="gang", hosts=["UB"])
    books.dispatch()
    start(books, first)
    assert books.dispatch() == [], "the second acquires at its hosts"
    third = books.submit(tool="gang", hosts=["UB"])
    books.bring(second, "cancelled")
    sent = sorted(each for each in kinds(books.dispatch()) if each[0] != "Cancel")
    assert sent == [("Proceed", "EUCAIM"), ("Proceed", "UB")], "the first came first"
    assert set(books.states(third).values()) == {"queued"}
    books.bring(first, "prepared")
    assert kinds(books.dispatch())[0] == ("Start", "EUCAIM")


def test_gang_with_a_host_of_the_release_before_goes_when_it_is_started(books: Books) -> None:
    books.beat("UB", ahead=True)
    experiment = books.submit(tool="gang", hosts=["UB"], prepare=True)
    assert books.dispatch() == []
    start(books, experiment)
    orders = books.dispatch()
    assert sorted(kinds(orders)) == [("JobOrder", "EUCAIM"), ("JobOrder", "UB")]
    assert not any(getattr(order, "ahead", False) for _, order in orders)
