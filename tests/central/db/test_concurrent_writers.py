"""Several writers at once: relays and API processes on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event
from tests.support.books import Books

from fedproc.central.db.engine import connect, read_transaction, serialized_transaction
from fedproc.central.db.repositories import experiments
from fedproc.central.experiments.advance import advance

pytestmark = pytest.mark.needs_postgres

WAIT = 20.0


class Background(threading.Thread):
    """A thread whose fault is raised where it is awaited."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._fault: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 (it is raised again, in the test)
            self._fault = error

    def done(self) -> None:
        self.join(WAIT)
        assert not self.is_alive(), "it waits for ever"
        if self._fault is not None:
            raise self._fault


@contextmanager
def held_before_commit(books: Books) -> Iterator[tuple[Books, threading.Event, threading.Event]]:
    """The same books through an engine whose commits wait: (books, a commit is due, let it go)."""
    engine = connect(books.settings.database)
    due, go = threading.Event(), threading.Event()

    @event.listens_for(engine, "commit")
    def _hold(_connection: Any) -> None:
        due.set()
        assert go.wait(WAIT)

    other = Books(engine, books.settings, books.dispatch_key)
    other.hosts = books.hosts
    try:
        yield other, due, go
    finally:
        go.set()
        engine.dispose()


def test_a_stream_misses_no_event_of_two_writers(pg_books: Books) -> None:
    experiment = pg_books.submit(tool="chain", hosts=["UB"])
    pg_books.dispatch()
    pg_books.bring(experiment, "succeeded", task="local")
    local = pg_books.job_on(experiment, "UB")
    seen: list[int] = []

    def look() -> None:
        with read_transaction(pg_books.engine) as connection:
            seen.extend(row.id for row in experiments.events_after(connection, experiment, max(seen, default=0), 100))

    with held_before_commit(pg_books) as (slow, due, go):
        publishing = Background(slow.dispatch)
        assert due.wait(WAIT)
        reporting = Background(lambda: pg_books.say(local.id, "metrics", 1, metrics={"rows": 3}))
        reporting.join(0.5)  # it may have to wait for the first writer; it must not write past it
        look()
        go.set()
        publishing.done()
        reporting.done()
    look()
    assert seen == [row.id for row in pg_books.events(experiment)]
    assert pg_books.events(experiment)[-1].kind == "metrics"


def test_two_gangs_at_once_do_not_share_out_their_hosts(pg_books: Books) -> None:
    request = {"tool": "gang", "hosts": ["UB", "BSC"]}
    with held_before_commit(pg_books) as (slow, due, go):
        one = Background(lambda: slow.submit(**request))
        assert due.wait(WAIT)
        two = Background(lambda: pg_books.submit(**request))
        two.join(0.5)
        go.set()
        one.done()
        two.done()
    told = [row.kind for row in pg_books.outbox()]
    assert told == ["job"] * 3, "one gang of three jobs goes, the other waits for it"


def test_a_cancel_and_a_report_never_lock_each_other_out(pg_books: Books) -> None:
    made = [pg_books.submit(tool="lone", hosts=["UB", "BSC", "FORTH"]) for _ in range(15)]
    pg_books.dispatch()
    for experiment in made:
        together = threading.Barrier(2)
        messages = [
            (row.host, pg_books.hosts.seal(row.host, pg_books.hosts.snapshot(row, "failed")))
            for row in pg_books.jobs(experiment)
        ]

        def cancel(experiment: str = experiment, together: threading.Barrier = together) -> None:
            together.wait(WAIT)
            with serialized_transaction(pg_books.engine) as connection:
                experiments.request_cancel(connection, experiment)
                advance(connection, experiment, 0.0)

        def report(messages: Any = messages, together: threading.Barrier = together) -> None:
            together.wait(WAIT)
            pg_books.take(*messages)

        threads = [Background(cancel), Background(report)]
        for thread in threads:
            thread.done()
        assert set(pg_books.states(experiment).values()) == {"failed"}
