"""Nothing is deleted by a clock that others contradict, or that has leapt and nobody confirms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update
from tests.central.retention.conftest import FOR_EVER, Kept
from tests.support.books import Books

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.schema import audit, hosts
from fedproc.central.files.discards import note
from fedproc.central.relay.metrics import MetricsCollector
from fedproc.central.retention import clock
from fedproc.central.retention.keeper import Keeper
from fedproc.central.settings import RetentionSettings
from fedproc.common.keys import Signer
from fedproc.contract.wire.jws import CENTRAL, seal

DAY = 86_400.0
YEARS = 3 * 365 * DAY


class Centre:
    """A centre with an entry that is young by its right clock, and a keeper whose clock the test sets."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.now, self.elapsed = kept.start, 0.0
        self.keeper = Keeper(
            RetentionSettings(**{**FOR_EVER, "audit": 10}), kept.storage, lambda: self.now, lambda: self.elapsed
        )
        kept.audit(kept.start)
        self.turn()

    def turn(self) -> bool:
        """Retention has its turn; whether the entry is still there."""
        list(self.keeper.due())
        return self.kept.count(audit, actor="rosa") == 1

    def beat(self, *names: str, clock: float) -> None:
        """These hosts, whose own clocks stand so, are heard now, and sign by the centre's time as hosts do."""
        side = self.kept.books.hosts
        for name in names:
            message = side.heartbeat(name, time=datetime.fromtimestamp(clock, UTC))
            raw = seal(message, Signer(side.keys[name]), iss=name, aud=CENTRAL, iat=self.now)
            self.kept.books.take((name, raw), at=self.now)


@pytest.fixture
def centre(kept: Any, monkeypatch: pytest.MonkeyPatch) -> Centre:
    """Its database is on the same machine, and has the same clock."""
    monkeypatch.setattr(clock, "_of_database", lambda _, now: now)
    return Centre(kept)


def without_hosts(kept: Kept) -> None:
    with write_transaction(kept.storage.engine) as connection:
        connection.execute(update(hosts).values(active=False))


def test_a_clock_that_its_hosts_contradict_deletes_nothing_however_long(
    centre: Centre, caplog: pytest.LogCaptureFixture
) -> None:
    centre.now += YEARS
    centre.beat("UB", "BSC", "FORTH", clock=centre.kept.start)
    for _ in range(3):
        assert centre.turn()
        centre.elapsed += 2 * DAY
    assert caplog.text.count("retention.clock_doubted") == 1
    assert "that of 3 of" in caplog.text


def test_a_clock_that_leaps_while_no_host_is_heard_deletes_nothing_however_long(centre: Centre) -> None:
    """By a clock that is years ahead no certificate is good, and no host comes through."""
    centre.beat("UB", clock=centre.now)
    centre.now += YEARS
    for _ in range(3):
        assert centre.turn()
        centre.elapsed += 2 * DAY


def test_a_centre_that_was_off_goes_on_when_a_host_confirms_its_clock(centre: Centre) -> None:
    centre.now += 20 * DAY
    assert centre.turn()
    centre.beat("UB", clock=centre.now - 60)
    assert not centre.turn()


def test_a_clock_that_was_put_right_is_deleted_by_again(centre: Centre) -> None:
    centre.now += YEARS
    assert centre.turn()
    centre.now = centre.kept.start + 12 * DAY
    centre.beat("UB", clock=centre.now)
    assert not centre.turn()


def test_one_host_whose_clock_is_wrong_holds_nothing_up(centre: Centre) -> None:
    centre.now += 20 * DAY
    centre.beat("UB", clock=0.0)
    centre.beat("BSC", clock=centre.now)
    assert not centre.turn()


def test_where_there_is_no_host_to_ask_a_day_is_waited(centre: Centre) -> None:
    without_hosts(centre.kept)
    centre.now += YEARS
    assert centre.turn()
    centre.elapsed += DAY - 60
    assert centre.turn()
    centre.now, centre.elapsed = centre.kept.start + 3601, DAY + 60
    assert centre.turn(), "the clock was put right"
    centre.now = centre.kept.start + 20 * DAY  # the centre was off for that long
    assert centre.turn()
    centre.elapsed += DAY
    assert not centre.turn()


def test_bytes_that_a_restored_database_does_not_name_stay_while_the_clock_is_doubted(centre: Centre) -> None:
    kept = centre.kept
    kept.storage.blobs.create("f-" + "0" * 26, 10)
    with write_transaction(kept.storage.engine) as connection:
        note(connection, ["f-" + "0" * 26], kept.start + 7 * DAY)
    centre.now += YEARS
    centre.turn()
    assert kept.blobs()
    centre.now = kept.start + 8 * DAY
    centre.beat("UB", clock=centre.now)
    centre.turn()
    assert not kept.blobs()


def test_the_clock_of_a_database_on_another_machine_counts(pg_books: Books) -> None:
    with read_transaction(pg_books.engine) as connection:
        right = clock._of_database(connection, 0.0)
        found = clock.doubt(connection, right + YEARS)
        assert clock.doubt(connection, right) is None
    assert found is not None
    assert "1095.0 days after the database's" in found.reason


def test_doubt_is_among_the_metrics(kept: Any) -> None:
    numbers = MetricsCollector(kept.storage.engine, lambda: "ok")
    assert _doubted(numbers) == 0
    for host in ("UB", "BSC", "FORTH"):
        kept.books.beat(host, time=datetime.fromtimestamp(kept.start - YEARS, UTC))
    assert _doubted(numbers) == 1


def _doubted(numbers: MetricsCollector) -> float:
    (found,) = (one for one in numbers.collect() if one.name == "fedproc_retention_clock_doubted")
    return float(found.samples[0].value)
