"""The relay's dealings with the database: claiming and sending, deadlines, reconciliation."""

from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.books import Belt, Books, kinds
from tests.support.sample_tools import task, tool

from fedproc.central.db.engine import read_transaction, serialized_transaction
from fedproc.central.db.repositories import experiments, hosts
from fedproc.central.experiments import deadlines, reconcile
from fedproc.central.experiments.advance import advance
from fedproc.central.relay.publisher import BATCH, LEASE_SECONDS, WITHOUT_QUEUE_SECONDS
from fedproc.common.amqp import BrokerError, NotTakenError, ReturnedError
from fedproc.contract.api.hosts import OpenJobsAnswer, OpenJobsReport
from fedproc.contract.states import JobState
from fedproc.contract.wire import jws
from fedproc.contract.wire.jws import unseal
from fedproc.contract.wire.messages import CRITICAL, JobOrder, OpenJobsRequest
from fedproc.contract.wire.open_jobs import OpenJob, open_jobs_digest

# -- the publisher


def test_a_message_is_signed_for_its_host_and_expires_with_the_job(books: Books) -> None:
    experiment = books.submit(tool="lone", hosts=["UB"])
    belt = Belt()
    now = time.time()
    assert asyncio.run(books.publisher().publish_all(belt, now)) == 1  # type: ignore[arg-type]
    ((host, raw),) = belt.carried
    key = books.dispatch_key
    envelope, order = unseal(raw, {key.thumbprint(): key}, aud="UB")
    (job,) = books.jobs(experiment)
    assert isinstance(order, JobOrder)
    assert (host, envelope.iss, envelope.aud, order.job) == ("UB", "central", "UB", job.id)
    assert envelope.exp == pytest.approx(job.release_by)
    assert order.deadlines.start_by == datetime.fromtimestamp(job.start_by, UTC)
    (row,) = books.outbox()
    assert (row.sent, row.sha256) == (now, hashlib.sha256(raw).hexdigest())
    assert (job.state, job.dispatched) == ("dispatched", now)


def test_order_that_selects_is_refused_by_a_host_that_does_not_know_selections(books: Books) -> None:
    """It would give the job the whole dataset."""
    reading = tool("reading", task("a", "client", inputs=[{"name": "table", "kind": "dataset"}]))
    books.add_tool(reading)
    chosen = {"tool": "reading", "datasets": ["UB:cohort", "BSC:cohort"]}
    books.submit(**chosen, dataset_selections={"UB:cohort": {"modality": ["CT"], "age_from": 18}})
    belt = Belt()
    asyncio.run(books.publisher().publish_all(belt, time.time()))  # type: ignore[arg-type]
    key, found = books.dispatch_key, {}
    for host, raw in belt.carried:
        envelope, order = unseal(raw, {key.thumbprint(): key}, aud=host)
        assert isinstance(order, JobOrder)
        found[host] = envelope.crit, {name: one.as_json() for name, one in order.selections.items()}
    assert found == {
        "UB": (("selections",), {"cohort": {"modality": ["CT"], "age_from": 18.0}}),
        "BSC": ((), {}),
    }


def test_what_a_host_must_know_of_an_order_says_so() -> None:
    """One of the release before would run a guarded job and never ask again, and a held one at once."""
    assert CRITICAL["job"] == ("selections", "grants", "ahead", "masks", "encrypt_to")


def test_an_order_that_its_host_could_not_read_ends_its_job_and_is_never_sent(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(jws._MOST, jws.MESSAGE_TYP, 600)
    large = books.submit(tool="lone", hosts=["UB"])
    assert books.dispatch() == []
    (job,) = books.jobs(large)
    assert (job.state, job.code) == ("error", "system_fault.too_large")
    assert "job for UB" in job.reason
    assert "may have 0.00 MiB" in job.reason
    assert books.experiment(large).state == "error"
    assert [row.sent is not None for row in books.outbox()] == [True]
    monkeypatch.undo()
    books.submit(tool="lone", hosts=["UB"])
    assert kinds(books.dispatch()) == [("JobOrder", "UB")], "the next goes all the same"


def test_a_gang_may_hold_from_its_dispatch_on(books: Books) -> None:
    books.submit(tool="gang", hosts=["UB"])
    later = time.time() + 5000
    orders = [message for _, message in books.dispatch(at=later) if isinstance(message, JobOrder)]
    until = {order.deadlines.hold_until for order in orders}
    assert until == {datetime.fromtimestamp(later + books.settings.hold_seconds, UTC)}


def test_what_one_relay_has_claimed_no_other_sends_until_it_is_given_up(books: Books) -> None:
    books.submit(tool="lone", hosts=["UB"])
    now = time.time()
    one, two = books.publisher("one"), books.publisher("two")
    assert len(one._claim(now)) == 1
    assert two._claim(now + LEASE_SECONDS - 1) == []
    assert len(two._claim(now + LEASE_SECONDS + 1)) == 1


def test_on_sqlite_a_new_relay_takes_over_at_once(books: Books) -> None:
    books.submit(tool="lone", hosts=["UB"])
    now = time.time()
    books.publisher("dead")._claim(now)
    heir = books.publisher("heir")
    heir.release_claims()
    assert len(heir._claim(now + 1)) == (1 if books.engine.dialect.name == "sqlite" else 0)


class _Broken(Belt):
    """A broker that takes only what goes to the hosts of ``good``."""

    def __init__(self, *good: str, error: BrokerError) -> None:
        super().__init__()
        self._good = good
        self._error = error

    async def publish(self, exchange: str, routing_key: str, body: bytes, **more: Any) -> None:
        if routing_key not in self._good:
            raise self._error
        await super().publish(exchange, routing_key, body, **more)


def test_what_the_broker_did_not_take_is_sent_again(books: Books) -> None:
    books.submit(tool="lone", hosts=["UB", "BSC"])
    now = time.time()
    with pytest.raises(BrokerError, match="full"):
        asyncio.run(books.publisher().publish_all(_Broken("UB", error=BrokerError("full")), now))  # type: ignore[arg-type]
    assert [(row.host, row.sent is not None) for row in books.outbox()] == [("UB", True), ("BSC", False)]
    assert kinds(books.dispatch(at=now + LEASE_SECONDS + 1)) == [("JobOrder", "BSC")]


def test_an_order_that_is_due_again_after_all_its_jobs_have_ended_stops_nothing(books: Books) -> None:
    """The relay had sent it and ended before it could note that; the host has refused meanwhile."""
    experiment = books.submit(tool="lone", hosts=["UB"])
    now = time.time()
    books.publisher()._claim(now)
    books.report(books.jobs(experiment)[0].id, "refused")
    books.submit(tool="lone", hosts=["BSC"])
    sent = kinds(books.dispatch(at=now + LEASE_SECONDS + 1))
    assert ("JobOrder", "BSC") in sent


def test_a_full_queue_of_one_host_holds_up_nothing_else(books: Books) -> None:
    """It ended the session with the broker, and so kept messages from all hosts."""
    for _ in range(3):
        books.submit(tool="lone", hosts=["UB", "BSC"])
    now, publisher = time.time(), books.publisher()
    belt = _Broken("UB", error=NotTakenError("full"))
    assert asyncio.run(publisher.publish_all(belt, now)) == 3  # type: ignore[arg-type]
    books.submit(tool="lone", hosts=["UB", "BSC"])
    assert asyncio.run(publisher.publish_all(belt, now + 1)) == 1  # type: ignore[arg-type]
    waiting = [row.claimed for row in books.outbox() if row.host == "BSC"]
    assert waiting[-1] is None, "the full one is not tried again so soon"
    assert asyncio.run(publisher.publish_all(Belt(), now + LEASE_SECONDS + 2)) == 4  # type: ignore[arg-type]


def _drained_with_a_full_queue(books: Books, now: float) -> str:
    """An experiment whose one order the host's queue did not take, before the host was drained."""
    experiment = books.submit(tool="lone", hosts=["UB"])
    full = _Broken(error=NotTakenError("full"))
    assert asyncio.run(books.publisher().publish_all(full, now)) == 0  # type: ignore[arg-type]
    with serialized_transaction(books.engine) as connection:
        hosts.drain(connection, "UB", "its racks are moved")
    assert books.jobs(experiment)[0].state == "dispatched"
    return experiment


def _cancel(books: Books, experiment: str, now: float) -> None:
    """As the API does."""
    with serialized_transaction(books.engine) as connection:
        experiments.request_cancel(connection, experiment)
        advance(connection, experiment, now)


def test_order_that_a_full_queue_did_not_take_is_cancelled_though_its_host_is_drained(books: Books) -> None:
    now = time.time()
    experiment = _drained_with_a_full_queue(books, now)
    _cancel(books, experiment, now + 1)
    assert books.jobs(experiment)[0].state == "cancelled"
    assert books.experiment(experiment).state == "cancelled"
    assert books.outbox() == []


def test_order_that_a_full_queue_did_not_take_expires_though_its_host_is_drained(books: Books) -> None:
    experiment = _drained_with_a_full_queue(books, time.time())
    (job,) = books.jobs(experiment)
    with serialized_transaction(books.engine) as connection:
        assert deadlines.pass_deadlines(connection, job.start_by + 1)
    assert books.jobs(experiment)[0].state == "expired"


def test_order_that_is_cancelled_while_it_is_on_its_way_to_a_full_queue_ends(books: Books) -> None:
    experiment, now = books.submit(tool="lone", hosts=["UB"]), time.time()

    class Cancelling(_Broken):
        async def publish(self, *order: Any, **more: Any) -> None:
            await asyncio.to_thread(_cancel, books, experiment, now)
            await super().publish(*order, **more)

    publisher = books.publisher()
    asyncio.run(publisher.publish_all(Cancelling(error=NotTakenError("full")), now))  # type: ignore[arg-type]
    (job,) = books.jobs(experiment)
    assert (job.state, job.code, job.reason) == ("cancelled", "cancelled", "cancelled by its user")
    assert publisher.ended_jobs
    assert books.experiment(experiment).state == "cancelled"


def test_order_that_an_earlier_relay_may_have_sent_is_its_hosts_to_end(books: Books) -> None:
    experiment, now = books.submit(tool="lone", hosts=["UB"]), time.time()
    books.publisher("lost")._claim(now)
    later = now + LEASE_SECONDS + 1
    full = _Broken(error=NotTakenError("full"))
    asyncio.run(books.publisher().publish_all(full, later))  # type: ignore[arg-type]
    _cancel(books, experiment, later)
    assert books.jobs(experiment)[0].state == "dispatched"
    assert [row.kind for row in books.outbox()] == ["job", "cancel"]


def test_what_no_queue_takes_is_not_sent_and_keeps_nothing_else_from_being_sent(books: Books) -> None:
    books.submit(tool="lone", hosts=["UB", "BSC", "FORTH"])
    now, publisher = time.time(), books.publisher()
    belt = _Broken("UB", "FORTH", error=ReturnedError("jobs", "BSC", "NO_ROUTE"))
    assert asyncio.run(publisher.publish_all(belt, now)) == 2  # type: ignore[arg-type]
    assert publisher.without_queue == {"BSC"}
    assert [(row.host, row.sent is not None) for row in books.outbox()] == [
        ("UB", True), ("BSC", False), ("FORTH", True),
    ]  # fmt: skip
    assert kinds(books.dispatch(at=now + LEASE_SECONDS + 1)) == [("JobOrder", "BSC")]


def _without_a_queue(books: Books, now: float) -> str:
    """An experiment whose one order came back, as its host has no queue."""
    experiment = books.submit(tool="lone", hosts=["UB"])
    missing = _Broken(error=ReturnedError("jobs", "UB", "NO_ROUTE"))
    assert asyncio.run(books.publisher().publish_all(missing, now)) == 0  # type: ignore[arg-type]
    assert books.jobs(experiment)[0].state == "dispatched"
    return experiment


def test_order_that_came_back_is_sent_as_soon_as_its_queue_is_there(books: Books) -> None:
    """Not after the lease of a relay that has it no more."""
    now, publisher = time.time(), books.publisher()
    books.submit(tool="lone", hosts=["UB"])
    missing = _Broken(error=ReturnedError("jobs", "UB", "NO_ROUTE"))
    assert asyncio.run(publisher.publish_all(missing, now)) == 0  # type: ignore[arg-type]
    assert asyncio.run(publisher.publish_all(Belt(), now + 0.1)) == 0, "not so soon that it comes back in a circle"  # type: ignore[arg-type]
    assert asyncio.run(publisher.publish_all(Belt(), now + WITHOUT_QUEUE_SECONDS + 0.1)) == 1  # type: ignore[arg-type]


def test_order_that_came_back_is_cancelled_at_the_centre(books: Books) -> None:
    now = time.time()
    experiment = _without_a_queue(books, now)
    _cancel(books, experiment, now + 1)
    assert books.states(experiment) == {"work@UB": "cancelled"}
    assert books.experiment(experiment).state == "cancelled"
    assert books.outbox() == []


def test_order_that_came_back_expires_and_says_why(books: Books) -> None:
    experiment = _without_a_queue(books, time.time())
    (job,) = books.jobs(experiment)
    assert _pass(books, job.start_by + 1)
    (job,) = books.jobs(experiment)
    assert (job.state, job.code) == ("expired", "expired")
    assert job.reason == "its host's queue at the broker was full or missing until its deadline; the host never had it"


@pytest.mark.slow
def test_more_than_one_batch(books: Books) -> None:
    for _ in range(BATCH // 4 + 5):
        books.submit(tool="lone", hosts=["UB", "BSC", "FORTH", "EUCAIM"])
    assert len(books.dispatch()) == BATCH + 20
    assert books.dispatch() == []


# -- the clock


def _pass(books: Books, at: float) -> bool:
    with serialized_transaction(books.engine) as connection:
        return deadlines.pass_deadlines(connection, at)


def test_what_was_never_claimed_expires_at_its_first_deadline(books: Books) -> None:
    now = time.time()
    experiment = books.submit(tool="chain", hosts=["UB"], start_within=10)
    assert not _pass(books, now + 9)
    assert _pass(books, now + 11)
    assert books.states(experiment) == {"local@UB": "expired", "total@EUCAIM": "cancelled"}
    assert books.experiment(experiment).state == "expired"
    assert books.outbox() == []
    assert not _pass(books, now + 12)


def test_what_was_claimed_is_the_hosts_to_expire(books: Books) -> None:
    experiment = books.submit(tool="lone", hosts=["UB"], start_within=10)
    books.publisher()._claim(time.time())
    assert not _pass(books, time.time() + 3600)
    assert books.states(experiment) == {"work@UB": "dispatched"}


@pytest.mark.parametrize("phase", ["", "accepted", "running", "awaiting_release"])
def test_a_job_is_lost_only_after_its_last_deadline(books: Books, phase: str) -> None:
    experiment = books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    (job,) = books.jobs(experiment)
    if phase:
        books.report(job.id, phase)
    assert not _pass(books, job.release_by + deadlines.GRACE_SECONDS - 1)
    assert _pass(books, job.release_by + deadlines.GRACE_SECONDS + 1)
    lost = books.job(job.id)
    assert (lost.state, lost.code) == ("lost", "lost")
    assert books.experiment(experiment).state == "lost"
    books.report(job.id, "succeeded")
    assert books.job(job.id).state == "lost"
    assert [late["state"] for late in books.job(job.id).late] == ["succeeded"]


def test_when_one_host_is_lost_the_others_are_stopped(books: Books) -> None:
    experiment = books.submit(tool="lone", hosts=["UB", "BSC"])
    books.dispatch()
    ub, bsc = books.jobs(experiment)
    books.report(bsc.id, "succeeded")
    assert _pass(books, ub.release_by + deadlines.GRACE_SECONDS + 1)
    assert books.states(experiment) == {"work@UB": "lost", "work@BSC": "succeeded"}
    assert books.experiment(experiment).state == "lost"


# -- reconciliation


def _inventory(books: Books, host: str, *jobs: tuple[str, str, int]) -> OpenJobsAnswer:
    listed = [OpenJob(job=job, state=JobState(state), sequence=sequence) for job, state, sequence in jobs]
    with serialized_transaction(books.engine) as connection:
        return reconcile.answer(connection, host, OpenJobsReport(epoch="one", jobs=listed))


def test_books_that_agree(books: Books) -> None:
    experiment = books.submit(tool="lone", hosts=["UB", "BSC"])
    books.dispatch()
    job = books.job_on(experiment, "UB")
    books.report(job.id, "running")
    with read_transaction(books.engine) as connection:
        assert reconcile.host_digest(connection, "UB") == open_jobs_digest([(job.id, "running")])
        assert reconcile.host_digest(connection, "FORTH") == open_jobs_digest([])
    answer = _inventory(books, "UB", (job.id, "running", 1))
    assert answer == OpenJobsAnswer(keep=[job.id])


def test_what_the_host_knows_better_it_is_asked_to_say_again(books: Books) -> None:
    """The centre's database was put back: it knows an earlier state."""
    experiment = books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    (job,) = books.jobs(experiment)
    books.report(job.id, "accepted")
    assert _inventory(books, "UB", (job.id, "running", 7)) == OpenJobsAnswer(keep=[job.id], resend=[job.id])
    books.hosts.sequences[job.id] = 6
    books.report(job.id, "running")
    assert books.job(job.id).state == "running"


def test_what_the_centre_does_not_know_or_has_ended_is_stopped(books: Books) -> None:
    experiment = books.submit(tool="lone", hosts=["UB", "BSC"])
    books.dispatch()
    mine, theirs = books.job_on(experiment, "UB"), books.job_on(experiment, "BSC")
    books.report(mine.id, "failed")
    strange = "j-" + "0" * 26
    answer = _inventory(books, "UB", (mine.id, "running", 1), (strange, "running", 1), (theirs.id, "running", 1))
    assert set(answer.cancel) == {mine.id, strange, theirs.id}
    assert answer.keep == []


def test_an_order_that_was_lost_on_its_way_is_sent_again(books: Books) -> None:
    """The broker lost its disk: the host never saw the order, the centre has it as dispatched."""
    experiment = books.submit(tool="lone", hosts=["UB"])
    books.dispatch(at=time.time() - reconcile.AGAIN_AFTER - 1)
    (job,) = books.jobs(experiment)
    assert _inventory(books, "UB").resend == [job.id]
    assert kinds(books.dispatch()) == [("JobOrder", "UB")]
    assert _inventory(books, "UB").resend == [job.id]
    assert books.dispatch() == [], "it is on its way: not again so soon"


def _asked_at(books: Books, at: float, monkeypatch: pytest.MonkeyPatch, *jobs: tuple[str, str, int]) -> list[str]:
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: at)
        return _inventory(books, "UB", *jobs).resend


def test_a_job_that_its_host_does_not_have_ends(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was asked for again and again, until its last deadline."""
    experiment = books.submit(tool="lone", hosts=["UB", "BSC"])
    books.dispatch()
    books.bring(experiment, "accepted", "running")
    job, now = books.job_on(experiment, "UB").id, time.time()
    assert _asked_at(books, now, monkeypatch) == [job]
    assert _asked_at(books, now + 599, monkeypatch) == [job]
    assert _asked_at(books, now + 601, monkeypatch) == []
    assert (books.job(job).state, books.job(job).code) == ("lost", "lost")
    assert "does not have it" in books.job(job).reason
    assert _asked_at(books, now + 602, monkeypatch) == []


def test_a_job_of_which_its_host_speaks_again_goes_on(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    books.bring(experiment, "accepted", "running")
    (job,), now = books.jobs(experiment), time.time()
    assert _asked_at(books, now, monkeypatch) == [job.id]
    assert _asked_at(books, now + 1, monkeypatch, (job.id, "running", job.sequence)) == []
    assert _asked_at(books, now + 601, monkeypatch) == [job.id], "asked anew, since it was there"
    books.report(job.id, "collecting")
    assert _asked_at(books, now + 1202, monkeypatch) == [job.id]
    assert books.job(job.id).state == "collecting"


def test_an_order_that_no_host_has_is_sent_until_its_job_may_not_start(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = books.submit(tool="lone", hosts=["UB"], start_within=3600)
    books.dispatch()
    (job,), now = books.jobs(experiment), time.time()
    for at in (now, now + 601, now + 3500):
        assert _asked_at(books, at, monkeypatch) == [job.id]
    assert _asked_at(books, now + 3700, monkeypatch) == []
    assert books.job(job.id).state == "lost"


def test_a_journal_put_back_may_speak_again(books: Books) -> None:
    experiment = books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    (job,) = books.jobs(experiment)
    books.report(job.id, "accepted")
    for _ in range(4):
        books.report(job.id, "prepared", waiting_for="peers")
    _inventory(books, "UB", (job.id, "accepted", 1))
    books.hosts.sequences[job.id] = 1
    books.report(job.id, "running")
    assert books.job(job.id).state == "running"


def test_the_question_goes_to_the_host(books: Books) -> None:
    with serialized_transaction(books.engine) as connection:
        reconcile.request_open_jobs(connection, "UB", time.time())
    ((host, message),) = books.dispatch()
    assert (host, message) == ("UB", OpenJobsRequest(host="UB"))
