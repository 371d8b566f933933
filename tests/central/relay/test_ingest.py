"""What hosts report, taken into the books: each thing once, in order, from the host itself only."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from sqlalchemy import Row, insert, select, update
from tests.support.books import Belt, Books, kinds
from tests.support.examples import examples

from fedproc.central.db import schema
from fedproc.central.db.engine import read_transaction, serialized_transaction, write_transaction
from fedproc.central.db.repositories import datasets
from fedproc.central.db.schema import hosts
from fedproc.central.experiments.advance import advance
from fedproc.central.relay import dead_letters, ingest, record_limits
from fedproc.central.relay.dead_letters import ingest_dead_letters
from fedproc.common.keys import Signer
from fedproc.contract.ids import new_id
from fedproc.contract.states import TERMINAL
from fedproc.contract.times import moment
from fedproc.contract.wire import limits
from fedproc.contract.wire.jws import CENTRAL, canonical, seal
from fedproc.contract.wire.messages import Cancel, DeadLetterReason, HostReport


@pytest.fixture
def job(books: Books) -> Row[Any]:
    """A dispatched job on UB, the only one of its experiment."""
    experiment = books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    return books.jobs(experiment)[0]


def _dead(books: Books) -> list[Row[Any]]:
    with read_transaction(books.engine) as connection:
        return list(connection.execute(select(schema.dead_letters).order_by(schema.dead_letters.c.id)))


def _told(books: Books, experiment: str) -> list[tuple[str | None, str]]:
    """(task, state) of every change of state that streams show."""
    return [(e.task, e.data["state"]) for e in books.events(experiment) if e.kind == "state"]


# -- snapshots


def test_a_snapshot_is_taken_over_whole(books: Books, job: Row[Any]) -> None:
    taken = books.report(job.id, "running", executor="sandbox", command=("python", "x"), ready=True)
    assert taken.experiments == {job.experiment}
    now = books.job(job.id)
    assert (now.state, now.epoch, now.sequence, now.ready) == ("running", "one", 1, True)
    assert now.snapshot["executor"] == "sandbox"
    assert now.snapshot["command"] == ["python", "x"]


def test_the_highest_sequence_wins_and_nothing_goes_back(books: Books, job: Row[Any]) -> None:
    early = books.hosts.seal("UB", books.hosts.snapshot(job, "accepted"))
    late = books.hosts.seal("UB", books.hosts.snapshot(job, "running"))
    books.take(("UB", late), ("UB", early), ("UB", late))
    assert (books.job(job.id).state, books.job(job.id).sequence) == ("running", 2)
    books.report(job.id, "prepared")
    assert books.job(job.id).state == "running", "a later message with an earlier state is not believed"
    assert _told(books, job.experiment) == [("work", "dispatched"), (None, "running"), ("work", "running")]


def test_a_terminal_state_absorbs_and_what_comes_after_is_kept_beside_it(books: Books, job: Row[Any]) -> None:
    books.report(job.id, "failed", code="tool_fault.exit_code", reason="exit code 3", exit_code=3)
    ended = books.job(job.id)
    assert (ended.state, ended.code, ended.reason) == ("failed", "tool_fault.exit_code", "exit code 3")
    assert ended.ended is not None
    books.report(job.id, "succeeded")
    after = books.job(job.id)
    assert (after.state, after.ended) == ("failed", ended.ended)
    assert [snapshot["state"] for snapshot in after.late] == ["succeeded"]
    for _ in range(30):
        books.report(job.id, "succeeded")
    assert len(books.job(job.id).late) == 20, "what a host says again and again does not fill the database"
    assert _told(books, job.experiment).count((None, "failed")) == 1


@pytest.mark.slow
@examples(12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_however_often_and_in_whatever_order_messages_come_a_job_ends_once(books: Books, data: st.DataObject) -> None:
    experiment = books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    row = books.jobs(experiment)[0]
    life = ["accepted", "materialising", "prepared", "running", "collecting"]
    end = data.draw(st.sampled_from(sorted(TERMINAL)))
    said = [books.hosts.seal("UB", books.hosts.snapshot(row, state)) for state in [*life, end]]
    delivered = data.draw(st.permutations(said + data.draw(st.lists(st.sampled_from(said), max_size=6))))
    cuts = data.draw(st.lists(st.integers(0, len(delivered)), max_size=3))
    borders = [0, *sorted(cuts), len(delivered)]
    for begin, stop in itertools.pairwise(borders):
        books.take(*(("UB", raw) for raw in delivered[begin:stop]))
    assert books.job(row.id).state == end
    told = _told(books, experiment)
    assert len([state for task, state in told if task == "work" and state in TERMINAL]) == 1
    assert told.count((None, str(end))) == 1
    assert books.experiment(experiment).state == end


def test_a_file_that_a_host_names_and_never_sent_is_a_fault_of_the_system(books: Books, job: Row[Any]) -> None:
    output = {"output": "x", "path": "x", "file": "f-" + "0" * 26, "sha256": "0" * 64, "size": 1}
    books.report(job.id, "succeeded", outputs=(output,))
    now = books.job(job.id)
    assert (now.state, now.code) == ("error", "system_fault.output_lost")
    assert "f-000" in now.reason


@pytest.mark.parametrize(("state", "left"), [("refused", 0), ("failed", 2)])
def test_what_a_refused_job_had_sent_is_no_result(books: Books, job: Row[Any], state: str, left: int) -> None:
    with write_transaction(books.engine) as connection:
        for at in ("complete", "pending"):
            row = {"id": new_id("f"), "owner": "rosa", "media_type": "text/plain", "size": 1, "sha256": "0" * 64,
                   "job": job.id, "state": at, "created": 0.0, "output": "x", "path": at}  # fmt: skip
            connection.execute(insert(schema.files), row)
    books.report(job.id, state, code="policy.tool_unknown")
    with read_transaction(books.engine) as connection:
        kept = connection.execute(select(schema.files.c.id).where(schema.files.c.job == job.id)).all()
        noted = connection.execute(select(schema.discards.c.name)).all()
    assert (len(kept), len(noted)) == (left, 2 - left)


@pytest.mark.slow
def test_ten_thousand_outputs_of_one_job_are_taken_over(books: Books, job: Row[Any]) -> None:
    named = [
        {"output": "x", "path": f"{n:05}" + "p" * 120, "file": new_id("f"), "sha256": "0" * 64, "size": 1}
        for n in range(10_000)
    ]
    with write_transaction(books.engine) as connection:
        connection.execute(
            insert(schema.files),
            [
                {"id": one["file"], "owner": "rosa", "media_type": "text/plain", "size": 1, "sha256": one["sha256"],
                 "job": job.id, "state": "complete", "created": 0.0, "output": "x", "path": one["path"]}
                for one in named
            ],
        )  # fmt: skip
    books.report(job.id, "succeeded", outputs=tuple(named))
    assert (books.job(job.id).state, len(books.job(job.id).snapshot["outputs"])) == ("succeeded", 10_000)


def test_what_a_job_waits_for_is_told_once(books: Books, job: Row[Any]) -> None:
    for _ in range(3):
        books.report(job.id, "accepted", waiting_for="2 CPUs")
    books.report(job.id, "accepted", waiting_for="1 GPU")
    told = [e.data["waiting_for"] for e in books.events(job.experiment) if e.kind == "progress"]
    assert told == ["2 CPUs", "1 GPU"]


def test_of_another_hosts_job_nothing_is_believed(books: Books, job: Row[Any]) -> None:
    forged = books.hosts.snapshot(job, "succeeded").model_copy(update={"host": "BSC"})
    taken = books.take(("BSC", books.hosts.seal("BSC", forged)))
    assert books.job(job.id).state == "dispatched"
    assert not taken.experiments
    other = books.submit(tool="lone", hosts=["UB"])
    moved = books.hosts.snapshot(job, "succeeded").model_copy(update={"experiment": other})
    books.take(("UB", books.hosts.seal("UB", moved)))
    assert books.job(job.id).state == "dispatched"
    books.take(("UB", books.hosts.seal("UB", moved.model_copy(update={"job": "j-" + "0" * 26}))))


def test_what_cannot_be_read_is_kept_with_its_reason_and_the_next_is_worked_on(books: Books, job: Row[Any]) -> None:
    good, stranger = books.hosts.snapshot(job, "running"), Signer(ECKey.generate_key("P-256"))
    key = Signer(books.hosts.keys["UB"])

    def envelope(**change: Any) -> bytes:
        body = {"v": 1, "type": "snapshot", "iss": "UB", "aud": CENTRAL, "iat": time.time(), "jti": "1", "body": {}}
        return key.sign(canonical({**body, **change}), typ="fedproc-message+jws").encode()

    wrong = {
        "unreadable.signature": b"no JWS at all",
        "unreadable.key": seal(good, stranger, iss="UB", aud=CENTRAL),
        "unreadable.audience": seal(good, key, iss="UB", aud="BSC"),
        "unreadable.host": seal(good, key, iss="BSC", aud=CENTRAL),
        "unreadable.version": envelope(v=99),
        "unreadable.type": envelope(type="gossip"),
        "unreadable.schema": envelope(),
        "unreadable.crit": envelope(crit=["budget"]),
    }
    books.take(*(("UB", raw) for raw in wrong.values()), ("UB", books.hosts.seal("UB", good)))
    kept = _dead(books)
    assert [row.code for row in kept] == list(wrong)
    assert [row.sha256 for row in kept] == [hashlib.sha256(raw).hexdigest() for raw in wrong.values()]
    assert all(row.host == "UB" and row.queue == "events.UB" and row.reason for row in kept)
    assert books.job(job.id).state == "running"


def test_a_host_says_nothing_that_only_the_centre_may_say(books: Books, job: Row[Any]) -> None:
    books.take(("UB", books.hosts.seal("UB", Cancel(job=job.id))))
    assert [row.code for row in _dead(books)] == ["unreadable.type"]
    books.take(("MARS", books.hosts.seal("UB", Cancel(job=job.id))))
    assert _dead(books)[-1].code == "unreadable.host"


# -- records


def test_records_are_append_only_and_each_comes_once(books: Books, job: Row[Any]) -> None:
    for number in (1, 2, 2, 1, 3):
        books.say(job.id, "metrics", number, metrics={"round": number})
    books.say(job.id, "stdout", 1, lines=("a", "b"))
    books.report(job.id, "succeeded")
    books.say(job.id, "stderr", 1, lines=("the end",))
    books.say(job.id, "stdout", 1, lines=("a", "b"))
    told = [(e.kind, e.data) for e in books.events(job.experiment) if e.kind in {"metrics", "log"}]
    assert told == [
        ("metrics", {"round": 1}),
        ("metrics", {"round": 2}),
        ("metrics", {"round": 3}),
        ("log", {"stream": "stdout", "lines": ["a", "b"]}),
        ("log", {"stream": "stderr", "lines": ["the end"]}),
    ]


def test_records_of_another_hosts_job_are_dropped(books: Books, job: Row[Any]) -> None:
    forged = books.hosts.record(job, "metrics", 1, metrics={"n": 1}).model_copy(update={"host": "BSC"})
    books.take(("BSC", books.hosts.seal("BSC", forged)))
    assert not [e for e in books.events(job.experiment) if e.kind == "metrics"]


# -- heartbeats and epochs


def test_a_heartbeat_is_kept_as_the_last_word(books: Books) -> None:
    moment = time.time() + 5
    taken = books.beat("UB", datasets=["fresh"], at=moment, open_jobs=3)
    assert set(taken.heartbeats) == {"UB"}
    with read_transaction(books.engine) as connection:
        row = connection.execute(select(hosts).where(hosts.c.id == "UB")).one()
    assert (row.heard, row.epoch, row.heartbeat["open_jobs"]) == (moment, "one", 3)
    with read_transaction(books.engine) as connection:
        assert datasets.ids_of(connection, "UB") == ["fresh"]
    assert (row.condition, row.condition_text) == ("accepting", "")


@pytest.mark.parametrize("by", ["heartbeat", "snapshot"])
def test_a_new_journal_ends_what_stood_in_the_old_one(books: Books, by: str) -> None:
    one, two = (books.submit(tool="lone", hosts=["UB", "BSC"]) for _ in range(2))
    books.dispatch()
    known, never_seen = books.job_on(one, "UB"), books.job_on(two, "UB")
    books.report(known.id, "running")
    books.report(books.job_on(one, "BSC").id, "running")
    if by == "heartbeat":
        books.beat("UB", epoch="two")
    else:
        books.report(known.id, "accepted", epoch="two")
    lost = books.job(known.id)
    assert (lost.state, lost.code) == ("error", "journal_lost")
    assert "lost its journal" in lost.reason
    assert books.job(never_seen.id).state == "dispatched", "its message may still wait in the queue"
    assert kinds(books.dispatch()) == [("Cancel", "BSC")]
    books.report(never_seen.id, "accepted", epoch="two")
    assert books.job(never_seen.id).state == "accepted"
    books.beat("UB", epoch="two")
    assert [state for task, state in _told(books, one) if state == "error"] == ["error"]


def _running_after_a_new_journal(books: Books) -> tuple[Row[Any], list[bytes]]:
    """A job of UB's second journal, and what UB had said from the first one."""
    experiment = books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    (row,) = books.jobs(experiment)
    said = [books.hosts.heartbeat("UB"), books.hosts.snapshot(row, "failed", sequence=99)]
    said += [books.hosts.record(row, "stdout", 1, lines=("old",)), _checked("one", "old")]
    earlier = [books.hosts.seal("UB", message) for message in said]
    books.beat("UB", epoch="two", open_jobs=1)
    books.take(("UB", books.hosts.seal("UB", _checked("two", "new"))))
    books.report(row.id, "running", epoch="two")
    return row, earlier


def _checked(epoch: str, what: str) -> HostReport:
    return HostReport(host="UB", epoch=epoch, time=datetime.now(UTC), report={"check": what})


def _host(books: Books, host: str = "UB") -> Row[Any]:
    with read_transaction(books.engine) as connection:
        return connection.execute(select(hosts).where(hosts.c.id == host)).one()


def _stands(books: Books, row: Row[Any]) -> None:
    assert (books.job(row.id).state, books.job(row.id).epoch) == ("running", "two")
    host = _host(books)
    assert (host.epoch, host.heartbeat["open_jobs"], host.report["report"]) == ("two", 1, {"check": "new"})
    assert not [event for event in books.events(row.experiment) if event.kind == "log"]


@pytest.mark.parametrize("known", [True, False], ids=["known", "of a program before"])
def test_what_an_earlier_journal_said_changes_nothing_when_it_is_delivered_again(books: Books, known: bool) -> None:
    row, earlier = _running_after_a_new_journal(books)
    if not known:
        with write_transaction(books.engine) as connection:
            connection.execute(update(hosts).values(epochs=None))
    for raw in earlier * 2:
        books.take(("UB", raw))
        _stands(books, row)
    books.take(*(("UB", raw) for raw in earlier))
    _stands(books, row)


def test_an_epoch_that_was_followed_does_not_come_back_however_late_its_messages_are_signed(books: Books) -> None:
    row, _ = _running_after_a_new_journal(books)
    books.beat("UB", epoch="one")
    books.report(row.id, "failed", epoch="one")
    _stands(books, row)
    books.beat("UB", epoch="three")
    assert (books.job(row.id).state, books.job(row.id).code) == ("error", "journal_lost")
    assert _host(books).epoch == "three"


def test_an_earlier_journals_word_does_not_claim_a_job_that_the_new_one_has_not_seen(books: Books) -> None:
    experiment = books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    (row,) = books.jobs(experiment)
    early = books.hosts.seal("UB", books.hosts.snapshot(row, "accepted"))
    books.beat("UB", epoch="two")
    books.take(("UB", early))
    assert (books.job(row.id).state, books.job(row.id).epoch) == ("dispatched", None)
    books.report(row.id, "running", epoch="two")
    assert books.job(row.id).state == "running"


def test_a_new_journal_counts_although_the_hosts_clock_was_set_back(books: Books) -> None:
    later = time.time() + 7200
    books.beat("UB", at=later)
    books.beat("UB", epoch="two", at=later + 1)
    assert _host(books).epoch == "two"


@examples(20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_in_whatever_order_earlier_messages_come_again_the_newest_journal_stays(
    books: Books, data: st.DataObject
) -> None:
    names = [uuid.uuid4().hex for _ in range(3)]
    said = []
    for name in names:
        raw = books.hosts.seal("UB", books.hosts.heartbeat("UB", epoch=name))
        books.take(("UB", raw))
        said.append(raw)
    for raw in data.draw(st.lists(st.sampled_from(said), max_size=6)):
        books.take(("UB", raw))
        assert _host(books).epoch == names[-1]


# -- when a host was heard of


def _signed(books: Books, monkeypatch: pytest.MonkeyPatch, at: float, **more: Any) -> bytes:
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: at)
        return books.hosts.seal("UB", books.hosts.heartbeat("UB", **more))


def test_a_heartbeat_that_waited_for_days_does_not_make_its_host_look_alive(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, day = time.time(), 86_400.0
    monday = _signed(books, monkeypatch, now + 60)
    books.take(("UB", monday), at=now + 61)
    assert _host(books).heard == now + 61
    tuesday = _signed(books, monkeypatch, now + day)
    books.take(("UB", tuesday), at=now + 4 * day)
    assert _host(books).heard == now + day, "it was alive when it signed that"
    books.take(("UB", monday), at=now + 4 * day)
    assert _host(books).heard == now + day, "never back"


def test_a_heartbeat_from_the_future_counts_for_the_present(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time() + 10
    books.take(("UB", _signed(books, monkeypatch, now + 10**6)), at=now)
    assert _host(books).heard == now
    books.take(("UB", _signed(books, monkeypatch, now + 5)), at=now + 5)
    assert _host(books).heard == now + 5


def test_heartbeat_counts_whatever_its_hosts_clock_says(books: Books) -> None:
    """A clock that was set back by hours is what the host is to say, and the centre to show."""
    books.beat("UB", open_jobs=3)
    set_back = books.hosts.heartbeat("UB", open_jobs=4, condition="holding").model_copy(
        update={"time": moment(time.time() - 7200)}
    )
    taken = books.take(("UB", books.hosts.seal("UB", set_back)))
    assert _host(books).heartbeat["condition"] == "holding"
    assert taken.heartbeats["UB"].open_jobs == 4


@pytest.mark.parametrize("iat", ["NaN", "Infinity", "-Infinity"])
def test_a_time_that_is_no_number_is_unreadable(books: Books, iat: str) -> None:
    payload = canonical({"v": 1, "type": "snapshot", "iss": "UB", "aud": CENTRAL, "iat": 0, "jti": "1", "body": {}})
    raw = Signer(books.hosts.keys["UB"]).sign(
        payload.replace(b'"iat":0', f'"iat":{iat}'.encode()), typ="fedproc-message+jws"
    )
    books.take(("UB", raw.encode()))
    assert [entry.code for entry in _dead(books)] == ["unreadable.schema"]


# -- dead letters


def _order_on_the_wire(books: Books) -> tuple[Row[Any], bytes]:
    experiment, belt = books.submit(tool="lone", hosts=["UB"]), Belt()
    asyncio.run(books.publisher().publish_all(belt, time.time()))  # type: ignore[arg-type]
    return books.jobs(experiment)[0], belt.carried[-1][1]


def _dead_lettered(books: Books, raw: bytes) -> set[str]:
    now = time.time()
    with serialized_transaction(books.engine) as connection:
        changed = ingest_dead_letters(
            connection, [("jobs.UB", raw)], {books.dispatch_key.thumbprint(): books.dispatch_key}, now
        )
        for experiment in changed:
            advance(connection, experiment, now)
    return changed


def _why(books: Books, raw: bytes) -> None:
    digest = hashlib.sha256(raw).hexdigest()
    unread = DeadLetterReason(
        host="UB", epoch="one", code="unreadable.version", reason="update", sha256=digest, queue="jobs.UB"
    )
    books.take(("UB", books.hosts.seal("UB", unread)))


@pytest.mark.parametrize("first", ["reason", "letter"])
def test_a_job_that_its_host_cannot_read_ends_with_the_reason(books: Books, first: str) -> None:
    row, raw = _order_on_the_wire(books)
    if first == "reason":
        _why(books, raw)
    assert _dead_lettered(books, raw) == {row.experiment}
    if first == "letter":
        _why(books, raw)
    ended = books.job(row.id)
    assert (ended.state, ended.code) == ("error", "unreadable")
    assert ended.reason == "host UB could not read its job: update"
    (kept,) = _dead(books)
    assert (kept.code, kept.reason, kept.host, kept.job, kept.body) == (
        "unreadable.version",
        "update",
        "UB",
        row.id,
        raw,
    )
    assert books.experiment(row.experiment).state == "error"
    assert _dead_lettered(books, raw) == set(), "heard twice, it changes nothing"


def test_a_job_that_its_host_has_is_not_ended_by_a_copy_of_its_order(books: Books) -> None:
    row, raw = _order_on_the_wire(books)
    books.report(row.id, "running")
    assert _dead_lettered(books, raw) == set()
    assert books.job(row.id).state == "running"


def test_letters_that_we_did_not_write_end_nothing(books: Books) -> None:
    row, _ = _order_on_the_wire(books)
    forged = (
        Signer(ECKey.generate_key("P-256")).sign(canonical({"type": "job", "body": {"job": row.id}}), typ="x").encode()
    )
    for raw in (b"", b"\x00\xff", b"{}", forged, b"x" * 200_000):
        assert _dead_lettered(books, raw) == set()
    assert books.job(row.id).state == "dispatched"
    assert max(len(entry.body) for entry in _dead(books)) == 65_536


@pytest.mark.parametrize(
    "change",
    [{"reason": "exit\x00code"}, {"code": "a\x00b"}, {"sequence": 2**40}, {"sequence": 2**70}, {"epoch": "e" * 300}],
    ids=str,
)
def test_a_message_that_the_database_cannot_hold_does_not_stop_the_others(
    books: Books, job: Row[Any], change: dict[str, Any]
) -> None:
    other = books.submit(tool="lone", hosts=["BSC"])
    books.dispatch()
    theirs = books.jobs(other)[0]
    poison = books.hosts.snapshot(job, "running").model_copy(update=change)
    good = books.hosts.snapshot(theirs, "running")
    taken = books.take(("UB", books.hosts.seal("UB", poison)), ("BSC", books.hosts.seal("BSC", good)))
    assert books.job(theirs.id).state == "running"
    assert other in taken.experiments
    if books.job(job.id).state != "running":
        assert _dead(books)[-1].code == "unreadable.content"
        books.hosts.sequences[job.id] = 5
        books.report(job.id, "running")
    assert books.job(job.id).state == "running"


FILE_OF_OUTPUT = {"output": "x", "path": "x", "file": "f-" + "0" * 26, "sha256": "0" * 64, "size": 1}

# -- bounds: what one host says again and again does not fill the database


def test_of_each_host_only_the_latest_letters_are_kept(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "KEPT", 3)
    books.take(("BSC", b"theirs"), *(("UB", b"letter %d" % number) for number in range(7)))
    _dead_lettered(books, b"of the queue")
    kept = [(entry.host, entry.body) for entry in _dead(books)]
    assert kept == [("BSC", b"theirs"), ("UB", b"letter 5"), ("UB", b"letter 6"), ("UB", b"of the queue")]


def test_a_host_explains_no_letter_of_another(books: Books) -> None:
    _dead_lettered(books, b"{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    said = DeadLetterReason(host="BSC", epoch="one", code="x", reason="lies", sha256=digest, queue="jobs.UB")
    books.take(("BSC", books.hosts.seal("BSC", said)))
    assert [(entry.host, entry.code) for entry in _dead(books)] == [
        ("UB", "unreadable.unexplained"),
        ("BSC", "unreadable.host"),
    ]


def test_records_and_waits_of_a_job_are_bounded(books: Books, job: Row[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_limits, "RECORDS_KEPT", 2)
    monkeypatch.setattr(ingest, "PROGRESS_KEPT", 2)
    for number in range(1, 5):
        books.say(job.id, "metrics", number, metrics={"round": number})
        books.report(job.id, "accepted", waiting_for=f"number {number}")
    seen = [(event.kind, event.data) for event in books.events(job.experiment) if event.kind != "state"]
    assert [data for kind, data in seen if kind == "metrics"] == [{"round": 1}, {"round": 2}]
    assert [data["waiting_for"] for kind, data in seen if kind == "progress"] == ["number 1", "number 2"]
    assert books.job(job.id).snapshot["waiting_for"] == "number 4"


def test_records_are_bounded_whatever_epochs_a_host_names(
    books: Books, job: Row[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_limits, "RECORDS_KEPT", 2)
    for number in range(8):
        books.say(job.id, "metrics", 1, epoch=f"epoch {number}", metrics={"round": number})
    assert len([event for event in books.events(job.experiment) if event.kind == "metrics"]) == 2


def test_records_of_a_job_that_ended_some_time_ago_are_refused(
    books: Books, job: Row[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    books.report(job.id, "running")
    books.report(job.id, "succeeded")
    books.say(job.id, "metrics", 1, metrics={"last": 1})
    monkeypatch.setattr(record_limits, "AFTER_END_SECONDS", -1)
    books.say(job.id, "metrics", 2, metrics={"much": "later"})
    said = [event.data for event in books.events(job.experiment) if event.kind == "metrics"]
    assert said == [{"last": 1}]


def test_records_of_a_stream_are_bounded_in_bytes(books: Books, job: Row[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    line = "x" * 4000
    size = len(canonical({"stream": "stdout", "lines": [line]}))
    monkeypatch.setattr(record_limits, "RECORDS_BYTES", 2 * size)
    for number in range(1, 4):
        books.say(job.id, "stdout", number, lines=(line,))
    books.say(job.id, "stderr", 1, lines=(line,))
    books.say(job.id, "stdout", 1, epoch="other", lines=(line,))
    kept = [event.data["stream"] for event in books.events(job.experiment) if event.kind == "log"]
    assert kept == ["stdout", "stdout", "stderr"]


@pytest.mark.parametrize("room", [0, -1])
def test_a_message_is_read_up_to_the_limit_of_its_kind(
    books: Books, job: Row[Any], monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    raw = books.hosts.seal("UB", books.hosts.record(job, "stdout", 1, lines=("x" * 3000,)))
    monkeypatch.setattr(limits, "OF_KIND", {"record": len(raw) + room})
    books.take(("UB", raw, "record"))
    kept = [event for event in books.events(job.experiment) if event.kind == "log"]
    assert len(kept) == (1 if room == 0 else 0)
    assert [entry.code for entry in _dead(books)] == ([] if room == 0 else ["unreadable.size"])


def test_no_kind_is_read_as_another_that_may_be_larger(
    books: Books, job: Row[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = books.hosts.seal("UB", books.hosts.record(job, "stdout", 1, lines=("x" * 3000,)))
    monkeypatch.setattr(limits, "OF_KIND", {"record": len(raw) - 1})
    books.take(("UB", raw, "snapshot"))
    (kept,) = _dead(books)
    assert kept.code == "unreadable.size"
    assert "are read of a record" in kept.reason


@pytest.mark.slow
def test_texts_of_a_host_are_kept_up_to_a_length(books: Books, job: Row[Any]) -> None:
    long = "r" * 100_000
    books.report(job.id, "accepted", waiting_for=long)
    books.report(job.id, "failed", reason=long)
    for _ in range(30):
        books.report(job.id, "failed", reason=long, outputs=[FILE_OF_OUTPUT] * 50)
    row = books.job(job.id)
    assert len(row.reason) == 4_096
    assert len(row.late) == 20
    assert len(str(row.late)) < 20 * 5_000
    waits = [event.data["waiting_for"] for event in books.events(job.experiment) if event.kind == "progress"]
    assert [len(text) for text in waits] == [4_096]


def test_a_report_may_be_the_first_message_of_a_new_journal(books: Books) -> None:
    """It ended the relay, and came again after each start."""
    books.take(("UB", books.hosts.seal("UB", _checked("f" * 32, "now"))))
    host = _host(books)
    assert (host.epoch, host.report["report"]) == ("f" * 32, {"check": "now"})
