"""What the relay's ``/metrics`` shows of the books."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.support.books import Books

from fedproc.central.db.engine import connect
from fedproc.central.files.blobs import Blobs
from fedproc.central.relay.metrics import MetricsCollector
from fedproc.central.retention.keeper import Keeper
from fedproc.central.retention.storage import Storage


def scraped(numbers: MetricsCollector) -> Mapping[str, float]:
    registry = CollectorRegistry()
    registry.register(numbers)
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def numbers_of(books: Books) -> Mapping[str, float]:
    return scraped(MetricsCollector(books.engine, lambda: "ok"))


def test_what_waits_in_the_outbox_and_for_how_long(books: Books) -> None:
    assert (numbers_of(books)["fedproc_outbox_unsent"], numbers_of(books)["fedproc_outbox_oldest_seconds"]) == (0, 0)
    books.submit(tool="lone", hosts=["UB"], at=time.time() - 90)
    shown = numbers_of(books)
    assert shown["fedproc_outbox_unsent"] == 1
    assert shown["fedproc_outbox_oldest_seconds"] == pytest.approx(90, abs=5)
    books.dispatch()
    assert numbers_of(books)["fedproc_outbox_unsent"] == 0


def test_what_nobody_could_read_is_counted(books: Books) -> None:
    assert numbers_of(books)["fedproc_dead_letters_total"] == 0
    books.take(("UB", b"no message"))
    assert numbers_of(books)["fedproc_dead_letters_total"] == 1


def test_a_host_that_holds_says_why_without_numbers(books: Books) -> None:
    books.beat("UB", condition="holding", condition_text="this host's clock is 75 s off")
    shown = numbers_of(books)
    named = 'fedproc_host_condition{condition="%s",host="%s",reason="%s"}'
    assert shown[named % ("holding", "UB", "this host's clock is # s off")] == 1
    assert shown[named % ("accepting", "UB", "")] == 0
    assert shown[named % ("accepting", "BSC", "")] == 1


def test_when_a_host_was_heard_of_and_how_its_clock_is(books: Books) -> None:
    at = time.time() - 300
    books.beat("UB", at=at, time=datetime.fromtimestamp(at + 42, UTC), open_jobs=3)
    shown = numbers_of(books)
    assert shown['fedproc_host_heard_timestamp_seconds{host="UB"}'] == pytest.approx(at)
    assert shown['fedproc_host_clock_skew_seconds{host="UB"}'] == pytest.approx(42, abs=0.01)
    assert shown['fedproc_host_open_jobs{host="UB"}'] == 3


@pytest.mark.parametrize(("check", "alarms"), [({"alarms": [{"code": "disk-full"}]}, 1), ({"alarms": 7}, 0), (None, 0)])
def test_a_hosts_check_may_be_anything(books: Books, check: object, alarms: int) -> None:
    books.beat("UB", check=check)
    assert numbers_of(books)['fedproc_host_alarms{host="UB"}'] == alarms


def test_what_is_kept_is_shown_as_it_was_counted(books: Books) -> None:
    storage = Storage(books.engine, Blobs(books.settings.files))
    assert numbers_of(books)["fedproc_retention_applied_timestamp_seconds"] == 0
    now = time.time()
    books.take(("UB", b"no message"), at=now - 100 * 86_400)
    books.take(("UB", b"neither"))
    list(Keeper(books.settings.retention, storage).apply(now))
    shown = numbers_of(books)
    assert shown["fedproc_retention_applied_timestamp_seconds"] == pytest.approx(now)
    assert shown['fedproc_kept_rows{kind="dead_letters"}'] == 1
    assert shown['fedproc_retention_removed_total{kind="dead_letters"}'] == 1
    assert shown['fedproc_kept_bytes{kind="database"}'] > 100_000


def test_a_database_that_is_away_is_said_and_hides_nothing_else(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/nowhere/central.db")
    shown = scraped(MetricsCollector(engine, lambda: "the broker closed the connection"))
    assert shown == {"fedproc_relay_broker_connected": 0, "fedproc_relay_database_answers": 0}
