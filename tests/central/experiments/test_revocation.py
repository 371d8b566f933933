"""A host is revoked: what ends, what others are told, and what it says afterwards."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import insert, select
from tests.support.books import Books, kinds
from tests.support.sample_tools import DIAL, PORT, need, task, tool

from fedproc.central.db.engine import read_transaction, serialized_transaction, write_transaction
from fedproc.central.db.repositories import hosts
from fedproc.central.db.schema import dead_letters, events
from fedproc.central.experiments import revocation
from fedproc.common.keys import public_jwk
from fedproc.contract.states import TERMINAL
from fedproc.contract.wire.messages import Cancel, JobOrder, Revocation, Start

SPARING = tool(
    "sparing",
    task("server", "server", kind="service", ports=[PORT], ready={"tcp": "grpc"}),
    task("client", "worker", needs=[need("server", "ready")], connections=[DIAL]),
    on_host_lost={"action": "continue", "min_hosts": 2},
)


def change(books: Books, host: str, *, active: bool, new_key: bool = False) -> None:
    """As PUT /hosts/{host} does."""
    from joserfc.jwk import ECKey

    if new_key:
        books.hosts.keys[host] = ECKey.generate_key("P-256")
    values = books.hosts.enrolment(host).model_copy(update={"active": active})
    now = time.time()
    with serialized_transaction(books.engine) as connection:
        before = hosts.one(connection, host)
        hosts.enrol(connection, host, values, public_jwk(books.hosts.keys[host]), now)
        after = hosts.one(connection, host)
        assert after is not None
        revocation.propagate(connection, before, after, now)


def running_gang(books: Books, name: str, *on: str) -> str:
    experiment = books.submit(tool=name, hosts=list(on))
    books.dispatch()
    books.bring(experiment, "accepted", "prepared")
    books.dispatch()
    books.report(books.job_on(experiment, "EUCAIM").id, "running", ready=True)
    books.dispatch()
    books.bring(experiment, "running", task="client")
    return experiment


def ends(books: Books, experiment: str) -> list[tuple[str, str]]:
    """(host, terminal state) of every terminal event of its jobs."""
    with read_transaction(books.engine) as connection:
        query = select(events).where(events.c.experiment == experiment, events.c.job.is_not(None))
        rows = connection.execute(query.order_by(events.c.id)).all()
    return [(row.host, row.data["state"]) for row in rows if row.kind == "state" and row.data["state"] in TERMINAL]


def test_everybody_else_is_told_the_key_that_counts_no_more(books: Books) -> None:
    key = books.hosts.keys["BSC"].thumbprint()
    change(books, "BSC", active=False)
    told = books.dispatch()
    assert sorted(kinds(told)) == [("Revocation", host) for host in ("EUCAIM", "FORTH", "UB")]
    assert all(isinstance(m, Revocation) and (m.host, m.key, m.revoked) == ("BSC", key, True) for _, m in told)
    change(books, "BSC", active=False)
    assert books.dispatch() == []
    change(books, "BSC", active=True)
    assert {(m.key, m.revoked) for _, m in books.dispatch() if isinstance(m, Revocation)} == {(key, False)}


def test_a_new_key_makes_the_old_one_void_and_lifts_nothing(books: Books) -> None:
    old = books.hosts.keys["BSC"].thumbprint()
    change(books, "BSC", active=True, new_key=True)
    assert {(m.key, m.revoked) for _, m in books.dispatch() if isinstance(m, Revocation)} == {(old, True)}
    change(books, "BSC", active=False)
    second = books.hosts.keys["BSC"].thumbprint()
    assert {(m.key, m.revoked) for _, m in books.dispatch() if isinstance(m, Revocation)} == {(second, True)}
    change(books, "BSC", active=True, new_key=True)
    third = books.hosts.keys["BSC"].thumbprint()
    assert {(m.key, m.revoked) for _, m in books.dispatch() if isinstance(m, Revocation)} == {(third, False)}


def test_jobs_end_once_whatever_they_were_at(books: Books) -> None:
    waiting = books.submit(tool="lone", hosts=["BSC"])
    change(books, "BSC", active=False)
    row = books.job_on(waiting, "BSC")
    assert (row.state, row.code) == ("cancelled", "host_revoked")
    assert [kind for kind in kinds(books.dispatch()) if kind[1] == "BSC"] == []
    change(books, "BSC", active=True)
    books.dispatch()

    dispatched, running = (books.submit(tool="lone", hosts=["BSC"]) for _ in range(2))
    books.dispatch()
    books.bring(running, "accepted", "running")
    change(books, "BSC", active=False)
    for experiment in (dispatched, running):
        row = books.job_on(experiment, "BSC")
        assert (row.state, row.code) == ("lost", "host_revoked")
        assert "BSC was revoked by the federation's operator" in row.reason
        assert books.experiment(experiment).state == "lost"
    cancels = {m.job: m for host, m in books.dispatch() if isinstance(m, Cancel) and host == "BSC"}
    assert set(cancels) == {books.job_on(e, "BSC").id for e in (dispatched, running)}
    assert {m.code for m in cancels.values()} == {"host_revoked"}
    books.report(books.job_on(running, "BSC").id, "succeeded")
    row = books.job_on(running, "BSC")
    assert (row.state, [late["state"] for late in row.late]) == ("lost", ["succeeded"])
    for experiment in (waiting, dispatched, running):
        assert len(ends(books, experiment)) == 1


def test_a_job_that_no_broker_has_yet_is_not_sent(books: Books) -> None:
    """A relay has claimed it and died before it was published: that is dispatched, and is taken back."""
    experiment = books.submit(tool="lone", hosts=["BSC"])
    books.publisher()._claim(time.time())
    assert books.job_on(experiment, "BSC").state == "dispatched"
    change(books, "BSC", active=False)
    assert books.job_on(experiment, "BSC").state == "lost"
    later = books.dispatch(at=time.time() + 3600)
    assert not [m for _, m in later if isinstance(m, JobOrder)]


@pytest.mark.slow
def test_the_rest_of_the_experiment_goes_as_its_tool_says(books: Books) -> None:
    failing = running_gang(books, "gang", "UB", "BSC", "FORTH")
    change(books, "BSC", active=False)
    cancels = {host: m for host, m in books.dispatch() if isinstance(m, Cancel)}
    assert set(cancels) == {"UB", "BSC", "FORTH", "EUCAIM"}
    assert "client on BSC ended as lost: host BSC was revoked" in cancels["UB"].reason
    books.bring(failing, "cancelled")
    assert books.experiment(failing).state == "lost"
    change(books, "BSC", active=True)
    books.dispatch()

    books.add_tool(SPARING)
    going_on = running_gang(books, "sparing", "UB", "BSC", "FORTH")
    change(books, "BSC", active=False)
    assert {host for host, m in books.dispatch() if isinstance(m, Cancel)} == {"BSC"}
    books.bring(going_on, "succeeded", task="client")
    books.dispatch()
    books.bring(going_on, "succeeded", task="server")
    assert books.experiment(going_on).state == "succeeded"
    assert books.job_on(going_on, "BSC").state == "lost"


def test_a_gang_is_told_the_keys_of_its_peers(books: Books) -> None:
    experiment = books.submit(tool="gang", hosts=["UB", "BSC"])
    books.dispatch()
    books.bring(experiment, "accepted", "prepared")
    starts = {host: message for host, message in books.dispatch() if isinstance(message, Start)}
    assert {peer.host: peer.key for peer in starts["EUCAIM"].peers} == {
        host: books.hosts.keys[host].thumbprint() for host in ("UB", "BSC")
    }


def test_nothing_that_a_revoked_host_says_counts(books: Books) -> None:
    change(books, "BSC", active=False)
    before = _row(books, "BSC")
    taken = books.beat("BSC", ["another"], epoch="two")
    assert taken.heartbeats == {}
    assert _row(books, "BSC") == before
    with read_transaction(books.engine) as connection:
        assert connection.execute(select(dead_letters)).all() == []


def _row(books: Books, host: str) -> object:
    with read_transaction(books.engine) as connection:
        return hosts.one(connection, host)


def test_hosts_enrolled_before_their_keys_had_names(books: Books) -> None:
    with write_transaction(books.engine) as connection:
        old = {key: value for key, value in public_jwk(books.hosts.keys["UB"]).items() if key != "kid"}
        connection.execute(
            insert(hosts.hosts).values(id="OLD", roles=["data"], public_key=old, active=True, enrolled=0)
        )
    with serialized_transaction(books.engine) as connection:
        before = hosts.one(connection, "OLD")
        hosts.deactivate(connection, "OLD")
        after = hosts.one(connection, "OLD")
        assert after is not None
        revocation.propagate(connection, before, after, time.time())
    assert books.dispatch() == []
