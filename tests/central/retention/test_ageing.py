"""Each kind goes when it is older than its setting says, not before; what is open stays, however old it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.support.books import Books

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.schema import (
    audit,
    dead_letters,
    enrolments,
    events,
    experiments,
    files,
    hosts,
    metadata,
    outbox,
    records,
    submissions,
    traces,
)
from fedproc.central.retention.rules import RULES
from fedproc.central.retention.storage import BATCH
from fedproc.central.settings import RetentionSettings

DAY = 86_400.0
DAYS = 10
MADE: dict[str, tuple[Any, Callable[[Any, float], object]]] = {
    "experiments": (experiments, lambda kept, at: kept.experiment(at)),
    "files": (files, lambda kept, at: kept.file(at)),
    "uploads": (files, lambda kept, at: kept.file(at, "pending")),
    "events": (events, lambda kept, at: kept.experiment(at, records=0)),
    "records": (records, lambda kept, at: kept.experiment(at)),
    "outbox": (outbox, lambda kept, at: kept.experiment(at + 60)),
    "dead_letters": (dead_letters, lambda kept, at: kept.books.take(("UB", b"no message"), at=at)),
    "enrolments": (enrolments, lambda kept, at: kept.enrolment(at)),
    "submissions": (submissions, lambda kept, at: kept.submission(at)),
    "traces": (traces, lambda kept, at: kept.trace(at)),
    "audit": (audit, lambda kept, at: kept.audit(at)),
}


def test_every_kind_has_its_setting_and_its_case() -> None:
    assert [rule.kind for rule in RULES] == list(MADE)
    assert {*MADE, "orphans"} == set(RetentionSettings.model_fields)


WITH_EXPERIMENTS = {"jobs", "shared"}
BOUNDED = {
    "log_queue": "the transparency log has it a moment later",
    "hosts": "one row for each host that there ever was",
    "dataset_columns": "what a host offers now, a thousand pages of each",
    "datasets": "what a host offers now",
    "dataset_terms": "the same, by what it is found",
    "tools": "one row for each version that was published; hosts may ask for any of them",
    "relays": "a relay that was not seen for an hour goes with the next one's sign of life",
    "delegations": "gone when its experiment has ended",
    "deletions": "gone when the deletion is complete",
    "discards": "gone with the bytes",
    "sessions": "those that are over go at the next sign-in",
    "kept": "one row for each kind",
}
"""tables that no rule is for, and why they do not grow for ever"""


def test_no_table_grows_for_ever() -> None:
    by_rule = {rule.table.name for rule in RULES}
    assert set(metadata.tables) == by_rule | WITH_EXPERIMENTS | set(BOUNDED), "give a new table its rule"


def test_the_audit_is_kept_longest() -> None:
    usual = RetentionSettings().model_dump()
    assert usual["audit"] == max(usual.values())


@pytest.mark.parametrize("kind", MADE)
def test_each_kind_goes_at_its_age(kept: Any, kind: str) -> None:
    table, make = MADE[kind]
    make(kept, kept.start - DAYS * DAY + 300)
    before = kept.count(table)
    assert before > 0
    kept.apply(**{kind: DAYS})
    assert kept.count(table) == before, "it is not old enough yet"
    kept.apply(at=kept.start + 600, **{kind: DAYS})
    if kind == "audit":
        assert kept.count(audit, actor="rosa") == 0
    else:
        assert kept.count(table) == 0


@pytest.mark.parametrize("kind", MADE)
def test_what_is_kept_for_ever_stays(kept: Any, kind: str) -> None:
    table, make = MADE[kind]
    make(kept, kept.start - 5000 * DAY)
    before = kept.count(table)
    kept.apply()
    assert kept.count(table) == before


@pytest.mark.parametrize("kind", [kind for kind in MADE if kind != "experiments"])
def test_what_was_deleted_stands_in_the_audit_once(kept: Any, kind: str) -> None:
    _, make = MADE[kind]
    make(kept, kept.start - 20 * DAY)
    kept.apply(**{kind: DAYS})
    kept.apply(**{kind: DAYS})
    with read_transaction(kept.storage.engine) as connection:
        found = connection.execute(select(audit).where(audit.c.actor == "retention")).all()
    assert [(row.action, row.detail.split()[1:4]) for row in found] == [(f"expire_{kind}", ["after", "10", "days,"])]


@pytest.mark.slow
def test_an_experiment_goes_with_all_that_belongs_to_it(kept: Any) -> None:
    gone, stays = kept.experiment(kept.start - 20 * DAY, records=3), kept.experiment(kept.start)
    files_of = [kept.result(gone, kept.start), kept.result(gone, kept.start), kept.result(stays, kept.start)]
    kept.apply(experiments=DAYS)
    left = kept.rows()
    assert [left[name] for name in ("experiments", "jobs", "outbox", "records", "files")] == [1, 1, 1, 1, 1]
    assert kept.count(events, experiment=gone) == 0
    assert kept.count(events, experiment=stays) > 0
    assert (left["deletions"], left["discards"], kept.blobs()) == (0, 0, {files_of[2]})
    with read_transaction(kept.storage.engine) as connection:
        (entry,) = connection.execute(select(audit).where(audit.c.target == gone)).all()
    assert (entry.actor, entry.action) == ("retention", "expire_experiments")
    assert entry.detail.startswith("1 jobs, 2 files, 20 bytes: j-")


def test_what_is_open_stays_however_old_it_is(kept: Any) -> None:
    long_ago = kept.start - 4000 * DAY
    running = kept.experiment(long_ago, ended=None)
    kept.books.submit(tool="sent", hosts=["UB"], at=long_ago)
    kept.books.submit(tool="lone", hosts=["BSC"], at=long_ago)
    kept.result(running, long_ago, "pending")
    kept.result(running, long_ago)
    before, bytes_before = kept.rows(), kept.blobs()
    kept.apply(**dict.fromkeys(MADE, 1), orphans=1)
    after = kept.rows()
    assert {name: after[name] for name in before if name != "kept"} == {
        name: before[name] for name in before if name != "kept"
    }
    assert kept.blobs() == bytes_before


def test_an_upload_whose_bytes_still_come_stays(kept: Any) -> None:
    file = kept.file(kept.start - 20 * DAY, "pending")
    with kept.storage.blobs.locked(file):
        kept.apply(uploads=DAYS)
        assert kept.count(files) == 1
    kept.storage.blobs.path(file).touch()
    kept.apply(at=kept.start + 60, uploads=DAYS)
    assert kept.count(files) == 1
    kept.apply(at=kept.start + 11 * DAY, uploads=DAYS)
    assert (kept.count(files), kept.blobs()) == (0, set())


def test_a_message_that_waits_for_a_host_goes_only_with_the_host(kept: Any) -> None:
    done = kept.experiment(kept.start - 20 * DAY)
    with write_transaction(kept.storage.engine) as connection:
        connection.execute(update(outbox).values(sent=None))
    assert kept.books.experiment(done).ended is not None
    kept.apply(outbox=DAYS)
    assert kept.count(outbox) == 1
    with write_transaction(kept.storage.engine) as connection:
        connection.execute(update(hosts).values(active=False))
    kept.apply(outbox=DAYS)
    assert kept.count(outbox) == 0


@pytest.mark.slow
def test_a_clock_that_was_ahead_keeps_nothing_behind_it(kept: Any) -> None:
    kept.audit(kept.start + 300 * DAY)
    for _ in range(BATCH):
        kept.audit(kept.start - 20 * DAY)
    kept.apply(audit=DAYS)
    assert kept.count(audit, actor="rosa") == 1


def test_a_tool_that_waits_for_its_decision_stays(kept: Any) -> None:
    kept.submission(kept.start - 100 * DAY, decided=False)
    kept.apply(submissions=DAYS)
    assert kept.count(submissions) == 1


def test_the_enrolment_of_a_host_of_today_stays(kept: Any) -> None:
    for state, host in (("confirmed", "UB"), ("rejected", "BSC"), ("confirmed", "GONE"), ("requested", "ASKS")):
        kept.enrolment(kept.start - 20 * DAY, host)
        with write_transaction(kept.storage.engine) as connection:
            values = {"state": state, "decided": kept.start - 20 * DAY if state != "requested" else None}
            connection.execute(update(enrolments).where(enrolments.c.host == host).values(**values))
    kept.apply(enrolments=DAYS)
    with read_transaction(kept.storage.engine) as connection:
        left = connection.execute(select(enrolments.c.host).order_by(enrolments.c.host)).scalars().all()
    assert left == ["ASKS", "UB"]


def test_no_portion_is_large_and_others_write_between_them(kept: Any, books: Books) -> None:
    old = kept.experiment(kept.start - 20 * DAY)
    with write_transaction(kept.storage.engine) as connection:
        row = {"experiment": old, "time": kept.start - 20 * DAY, "kind": "log", "data": {"lines": ["x"]}}
        connection.execute(events.insert(), [row] * (3 * BATCH + 7))
    portions = []
    for removed in kept.keeper(experiments=DAYS).apply(kept.start):
        portions.append(removed)
        books.enrol("UB")
    assert max(portions) <= BATCH
    assert sum(portions) > 3 * BATCH
    assert kept.count(events) == 0
