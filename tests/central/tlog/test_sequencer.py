"""What the centre's log has of each act, and that no order goes which it does not hold."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from tests.support.books import Belt, Books
from tests.support.disks import Disk
from tests.support.sample_tools import task, tool

from fedproc.central.db.engine import read_transaction, serialized_transaction, write_transaction
from fedproc.central.db.repositories import audits, experiments
from fedproc.central.db.repositories import log_queue as queue
from fedproc.central.db.repositories.log_queue import LogEntry
from fedproc.central.db.schema import audit, jobs, log_queue
from fedproc.central.experiments.advance import advance
from fedproc.central.files.blobs import Blobs
from fedproc.central.relay.publisher import LEASE_SECONDS
from fedproc.central.retention.deletion import delete_experiment
from fedproc.central.retention.rules import RULES
from fedproc.central.retention.storage import Span, Storage
from fedproc.central.retention.trail import Trail
from fedproc.central.tlog.entries import SUBMITTED, commitment
from fedproc.central.tlog.sequencer import names_of
from fedproc.common.amqp import NotTakenError
from fedproc.common.tlog.entries import Entry
from fedproc.common.tlog.errors import LogError
from fedproc.common.tlog.folder import ENTRIES
from fedproc.common.tlog.verification import read_entries, verify
from fedproc.contract.wire.messages import Output


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def entries(books: Books) -> list[Entry]:
    path = books.settings.tlog_folder / ENTRIES
    return list(read_entries(path)) if path.exists() else []


def kinds(books: Books) -> list[str]:
    return [entry.kind for entry in entries(books)]


def waiting(books: Books) -> int:
    with read_transaction(books.engine) as connection:
        return len(connection.execute(select(log_queue)).all())


def test_order_stands_in_the_log_after_its_submission_and_before_it_goes(books: Books) -> None:
    books.add_tool(tool("reading", task("work", "worker", inputs=[{"name": "cohort", "kind": "dataset"}])))
    used = ["UB:cohort", "BSC:cohort"]
    granted = books.granted("UB:cohort", project="P-7")
    experiment = books.submit(tool="reading", datasets=used, granted=granted, purpose="x y")
    assert kinds(books) == []
    books.dispatch()
    assert kinds(books) == ["experiment.submitted", "jobs.dispatched"]
    submitted, dispatched = (entry.data for entry in entries(books))
    placed = {job["host"]: job for job in submitted["jobs"]}
    assert placed["UB"]["datasets"] == [{"id": "UB:cohort", "version": "1"}]
    assert submitted["tool"]["digest"] == books.experiment(experiment).digest
    assert (submitted["project"], submitted["told_by"]) == ("P-7", {"project": "eucaim"})
    assert submitted["purpose"].startswith("purpose:"), "what somebody wrote is a hash"
    assert {job["job"] for job in dispatched["jobs"]} == {row.id for row in books.jobs(experiment)}
    assert waiting(books) == 0
    assert verify(books.settings.tlog_folder).whole


def test_log_names_no_person(books: Books) -> None:
    books.submit(tool="lone", hosts=["UB"], sub="rosa", project="for Rosa Roca")
    books.dispatch()
    text = (books.settings.tlog_folder / ENTRIES).read_text().lower()
    assert "rosa" not in text
    assert entries(books)[0].data["user"] == names_of(books.settings).of("user", "rosa")


def test_order_that_the_log_cannot_hold_is_not_sent_and_goes_when_there_is_room(books: Books, disk: Disk) -> None:
    books.submit(tool="lone", hosts=["UB"])
    disk.full = True
    with pytest.raises(LogError, match="make room there"):
        books.dispatch()
    assert [row.sent for row in books.outbox()] == [None]
    assert "make room there" in str(books.sequencer.problem)
    books.submit(tool="lone", hosts=["UB"])
    with pytest.raises(LogError):
        books.dispatch(at=time.time() + 60)
    assert [row.claimed_by for row in books.outbox()][1] is None, "what cannot go is not claimed"
    disk.full = False
    assert len(books.dispatch(at=time.time() + 120)) == 2
    assert books.sequencer.problem is None
    assert "log.resumed" in kinds(books)


def test_what_is_no_order_goes_while_the_log_cannot_be_written(books: Books, disk: Disk) -> None:
    running = books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    (job,) = books.jobs(running)
    books.report(job.id, "accepted")
    disk.full = True
    books.submit(tool="lone", hosts=["BSC"])
    with serialized_transaction(books.engine) as connection:
        experiments.request_cancel(connection, running)
        advance(connection, running, time.time())
    belt = Belt()
    for at in (0, 60):
        with pytest.raises(LogError):
            asyncio.run(books.publisher().publish_all(belt, time.time() + at))  # type: ignore[arg-type]
    assert [(host, type(books.opened(host, raw)).__name__) for host, raw in belt.carried] == [("UB", "Cancel")]
    order = next(row for row in books.outbox() if row.host == "BSC")
    assert (order.sent, order.claimed_by) == (None, None)
    disk.full = False
    assert [host for host, _ in books.dispatch(at=time.time() + 1)] == ["BSC"], "it waits for no lease"


def test_order_that_its_host_does_not_take_is_logged_once(books: Books) -> None:
    class Full(Belt):
        async def publish(self, *_: Any, **__: Any) -> None:
            raise NotTakenError("its queue is full")

    books.submit(tool="lone", hosts=["UB"])
    publisher, now = books.publisher(), time.time()
    for attempt in range(4):
        asyncio.run(publisher.publish_all(Full(), now + attempt * 2 * LEASE_SECONDS))  # type: ignore[arg-type]
    assert kinds(books) == ["experiment.submitted", "jobs.dispatched"]


def test_end_of_a_job_stands_there_with_the_hashes_of_what_came(books: Books) -> None:
    experiment = books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    (job,) = books.jobs(experiment)
    for state in ("accepted", "running", "succeeded"):
        books.report(job.id, state)
    books.sequencer.keep_up()
    found = entries(books)[-1]
    assert (found.kind, dict(found.data)) == (
        "result.received", {"experiment": experiment, "job": job.id, "host": "UB", "state": "succeeded"}
    )  # fmt: skip


def test_files_of_a_result_are_named_by_their_hashes(books: Books) -> None:
    experiment = books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    (job,) = books.jobs(experiment)
    output = Output(output="table", path="patients.json", file="f-" + "0" * 26, sha256="a" * 64, size=3)
    books.report(job.id, "succeeded", outputs=(output,))
    books.sequencer.keep_up()
    (found,) = [entry.data for entry in entries(books) if entry.kind == "result.received"]
    assert found["files"] == [{"output": "table", "sha256": "a" * 64, "file": "f-" + "0" * 26}]
    assert found["state"] == "error", "the centre does not have it"


def test_deletion_stands_there_with_what_was_submitted(books: Books, tmp_path: Path) -> None:
    experiment = books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    books.bring(experiment, "succeeded")
    storage = Storage(books.engine, Blobs(tmp_path / "files"))
    _, rest = delete_experiment(storage, experiment, None, time.time(), lambda *_: None)
    list(rest)
    books.sequencer.keep_up()
    assert kinds(books)[-1] == "experiment.deleted"
    assert entries(books)[-1].data == {"experiment": experiment, "jobs": 1, "files": 0}


def test_experiment_that_is_gone_before_it_is_logged_is_named(books: Books) -> None:
    gone = LogEntry(SUBMITTED, {"experiment": "e-" + "0" * 26})
    with write_transaction(books.engine) as connection:
        queue.add(connection, [gone])
    books.sequencer.keep_up()
    assert entries(books)[0].data == gone.data


# -- the audit -----------------------------------------------------------------------------------


def act(books: Books, actor: str = "olga", detail: str = "why") -> int:
    with write_transaction(books.engine) as connection:
        return audits.add(connection, actor, "revoke_host", "UB", detail, time.time())


def row(books: Books, number: int) -> Any:
    with read_transaction(books.engine) as connection:
        return connection.execute(select(audit).where(audit.c.id == number)).one()


def commitments(books: Books) -> dict[int, str]:
    return {one[0]: one[3] for entry in entries(books) if entry.kind == "acts" for one in entry.data["acts"]}


def test_entry_of_the_audit_is_committed_to_once(books: Books) -> None:
    first, second = act(books), act(books)
    books.sequencer.keep_up()
    books.sequencer.keep_up()
    assert kinds(books) == ["acts"]
    assert commitments(books) == {n: commitment(row(books, n)._mapping) for n in (first, second)}
    assert "olga" not in (books.settings.tlog_folder / ENTRIES).read_text()


@pytest.mark.parametrize("change", [{"actor": "eve"}, {"detail": "another why"}, {"outcome": 500}, {"target": "BSC"}])
def test_entry_of_the_audit_that_was_changed_does_not_fit(books: Books, change: dict[str, Any]) -> None:
    number = act(books)
    books.sequencer.keep_up()
    with write_transaction(books.engine) as connection:
        connection.execute(update(audit).where(audit.c.id == number).values(**change))
    assert commitments(books)[number] != commitment(row(books, number)._mapping)


def test_retention_that_goes_on_counting_fits_all_the_same(books: Books) -> None:
    number = act(books, actor="retention", detail="500 after 7 days")
    books.sequencer.keep_up()
    with write_transaction(books.engine) as connection:
        audits.describe_again(connection, number, "1000 after 7 days")
    assert commitments(books)[number] == commitment(row(books, number)._mapping)


def test_entries_of_a_release_before_are_not_waited_for(books: Books) -> None:
    old = {"time": 1.0, "actor": "a", "method": "", "path": "", "action": "x", "outcome": 200}
    with write_transaction(books.engine) as connection:
        connection.execute(insert(audit).values(**old))
    books.sequencer.keep_up()
    assert kinds(books) == []


def test_entry_that_was_renamed_before_it_is_logged_gets_a_new_seal(books: Books) -> None:
    number = act(books)
    with write_transaction(books.engine) as connection:
        connection.execute(update(audit).where(audit.c.id == number).values(actor="erased", seal=None))
    books.sequencer.keep_up()
    assert row(books, number).seal
    assert commitments(books)[number] == commitment(row(books, number)._mapping)


def test_retention_leaves_entries_that_are_not_logged(books: Books, tmp_path: Path) -> None:
    logged = act(books)
    books.sequencer.keep_up()
    new = act(books)
    (rule,) = (one for one in RULES if one.kind == "audit")
    far = time.time() + 1000
    list(rule.remove(Storage(books.engine, Blobs(tmp_path / "files")), Span(far, far), Trail("audit", 1, far)))
    with read_transaction(books.engine) as connection:
        left = connection.execute(select(audit.c.id)).scalars().all()
    assert new in left
    assert logged not in left


@pytest.mark.slow
def test_many_acts_share_few_flushes_of_the_disk(books: Books, disk: Disk) -> None:
    with serialized_transaction(books.engine) as connection:
        for _ in range(1200):
            audits.add(connection, "olga", "put_file", None, "", time.time())
    books.sequencer.keep_up()
    assert len(commitments(books)) == 1200
    assert disk.flushes <= 4


@pytest.mark.slow
def test_experiment_of_very_many_datasets_has_several_entries(books: Books) -> None:
    """One that the log could not hold in a line would keep every order of the centre from going."""
    experiment = books.submit(tool="lone", hosts=["UB", "BSC", "FORTH"])
    many = [{"id": f"dataset-{number:050d}", "version": "v" * 90} for number in range(5_000)]
    with write_transaction(books.engine) as connection:
        connection.execute(update(jobs).where(jobs.c.experiment == experiment).values(datasets=many))
    assert len(books.dispatch()) == 3
    found = [entry.data["jobs"] for entry in entries(books) if entry.kind == "experiment.submitted"]
    assert [len(portion) for portion in found] == [1, 1, 1]
