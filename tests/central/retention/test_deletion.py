"""What a host says of a job that was deleted does no harm, and the host is told to let the job go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, update
from tests.central.retention.conftest import Kept
from tests.support.books import Books, kinds

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import hosts as host_rows
from fedproc.central.db.schema import experiments, hosts, jobs, outbox
from fedproc.central.experiments import lost, reconcile
from fedproc.central.relay import record_limits
from fedproc.central.retention import ageing, deletion, storage
from fedproc.central.retention.deletion import Deleted, delete_experiment, unfinished
from fedproc.common.errors import ConflictError, NotFoundError
from fedproc.contract.api.hosts import OpenJobsReport
from fedproc.contract.states import JobState
from fedproc.contract.wire.open_jobs import OpenJob

DAY = 86_400.0


def delete(kept: Any, experiment: str, owner: str | None = "rosa") -> Deleted:
    def record(_connection: Connection, _deleted: Deleted) -> None:
        """These tests look at no audit."""

    deleted, rest = delete_experiment(kept.storage, experiment, owner, kept.start, record)
    list(rest)
    return deleted


def test_an_open_experiment_is_cancelled_first(kept: Any) -> None:
    running = kept.experiment(kept.start, ended=None)
    before = kept.rows()
    with pytest.raises(ConflictError, match="cancel it first"):
        delete(kept, running)
    assert kept.rows() == before
    kept.books.bring(running, "cancelled")
    assert delete(kept, running).experiment == running


def test_two_programs_that_delete_at_once_leave_nothing(pg_books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API, whose user waits, and the relay, which comes by."""
    for module in (deletion, storage):
        monkeypatch.setattr(module, "BATCH", 3)
    kept = Kept(pg_books)
    done = kept.experiment(kept.start, records=20)
    for _ in range(20):
        kept.result(done, kept.start)
    _, rest = delete_experiment(kept.storage, done, "rosa", kept.start, lambda *_: None)
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(list, each) for each in (rest, unfinished(kept.storage, kept.start))]
        assert all(sum(one.result(timeout=60)) >= 0 for one in both)
    left = kept.rows()
    tables = ("experiments", "jobs", "events", "records", "outbox", "files", "deletions", "discards")
    assert {name: left[name] for name in tables} == dict.fromkeys(tables, 0)
    assert kept.blobs() == set()


def test_a_strangers_experiment_is_not_there(kept: Any) -> None:
    done = kept.experiment(kept.start)
    with pytest.raises(NotFoundError):
        delete(kept, done, "eva")
    delete(kept, done)
    with pytest.raises(NotFoundError):
        delete(kept, done)


def test_late_reports_of_a_deleted_job_change_nothing(kept: Any) -> None:
    done = kept.experiment(kept.start)
    (job,) = kept.books.jobs(done)
    delete(kept, done)
    before = kept.rows()
    hosts_side = kept.books.hosts
    late = [hosts_side.snapshot(job, state) for state in ("running", "awaiting_release", "failed")]
    late += [hosts_side.record(job, "stdout", 9, lines=("late",))]
    for message in late:
        result = kept.books.take((job.host, hosts_side.seal(job.host, message)))
        assert (result.experiments, result.events, result.messages) == (set(), False, False)
    assert kept.rows() == before


def test_a_host_that_still_has_a_deleted_job_is_told_to_let_it_go(kept: Any) -> None:
    gone = kept.experiment(kept.start, ended=None)
    (job,) = kept.books.jobs(gone)
    with write_transaction(kept.storage.engine) as connection:
        rows = connection.execute(jobs.select().where(jobs.c.id == job.id)).all()
        lost.end_jobs(connection, rows, lost.CODE, "it does not come back", kept.start)
    delete(kept, gone)
    assert kinds(kept.books.dispatch()) == [("Cancel", job.host)], "what waited for it is still sent"
    report = OpenJobsReport(epoch="one", jobs=(OpenJob(job=job.id, state=JobState.running, sequence=3),))
    with write_transaction(kept.storage.engine) as connection:
        told = reconcile.answer(connection, job.host, report)
    assert (list(told.keep), list(told.cancel), list(told.resend)) == ([], [job.id], [])
    kept.apply(at=kept.start + 20 * DAY, outbox=10)
    assert kept.count(outbox) == 0


def test_an_order_that_waits_again_goes_with_its_experiment(kept: Any) -> None:
    done = kept.experiment(kept.start)
    with write_transaction(kept.storage.engine) as connection:
        connection.execute(update(outbox).values(sent=None, claimed=None, claimed_by=None))
    delete(kept, done)
    assert kept.books.dispatch() == []
    assert kept.count(outbox) == 0


def test_a_host_stays_accepted_without_its_acceptance(kept: Any) -> None:
    passed, failed = kept.experiment(kept.start), kept.experiment(kept.start, "failed")
    with write_transaction(kept.storage.engine) as connection:
        for host, experiment in (("UB", passed), ("BSC", failed)):
            connection.execute(
                update(hosts).where(hosts.c.id == host).values(accepted=False, acceptance=experiment)
            )  # fmt: skip
    for experiment in (passed, failed):
        delete(kept, experiment)
    with read_transaction(kept.storage.engine) as connection:
        found = [host_rows.one(connection, host) for host in ("UB", "BSC")]
    assert [(row.is_accepted, row.acceptance) for row in found if row] == [(True, None), (False, None)]


def test_books_that_say_ended_with_an_open_job_are_left_alone(kept: Any) -> None:
    odd = kept.experiment(kept.start - 20 * DAY, ended=None)
    with write_transaction(kept.storage.engine) as connection:
        connection.execute(update(experiments).values(state="failed", ended=kept.start - 20 * DAY))
    kept.apply(experiments=10)
    assert kept.books.experiment(odd).state == "failed"


def test_records_are_kept_as_long_as_they_may_come_again() -> None:
    assert ageing._ON_THEIR_WAY >= record_limits.AFTER_END_SECONDS
