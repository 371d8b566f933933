"""What ends by the centre's clock stays open while that clock may be wrong, and while no host could be heard."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert
from tests.support.books import Books

from fedproc.central.db.engine import write_transaction
from fedproc.central.db.schema import kept
from fedproc.central.relay import ticks as module
from fedproc.central.relay.ticks import Ticks
from fedproc.central.retention import clock
from fedproc.common.errors import UnavailableError
from fedproc.common.keys import Signer
from fedproc.contract.wire.jws import CENTRAL, seal

HOUR, DAY = 3600.0, 86_400.0
LOST_AFTER = 300


class Centre:
    """A centre with one job at UB, which hears hosts, and both of whose clocks the test sets."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.now, self.elapsed = time.time(), 0.0
        self.ticks = Ticks(books.engine, lambda: self.now, lambda: self.elapsed)
        self.ticks.hears()
        self.experiment = books.submit(tool="lone", hosts=["UB"], lost_after=LOST_AFTER)
        books.dispatch()
        self.beat()
        assert self.after(2) == "dispatched"

    def after(self, seconds: float, *, leap: float = 0.0) -> str:
        """The state of the job when so much time has passed; the clock was set by ``leap`` meanwhile."""
        self.now += seconds + leap
        self.elapsed += seconds
        self.ticks.tick()
        return self.books.states(self.experiment)["work@UB"]

    def silence(self) -> str:
        """The same when a bit more has passed than the experiment waits for a host."""
        return [self.after(LOST_AFTER / 6) for _ in range(7)][-1]

    def beat(self, *, clock: float | None = None) -> None:
        """UB, whose own clock stands so, is heard now."""
        self.beat_of("UB", clock=clock)

    def beat_of(self, host: str, *, clock: float | None = None) -> None:
        """The same of any; hosts sign by the centre's time."""
        side, at = self.books.hosts, datetime.fromtimestamp(self.now if clock is None else clock, UTC)
        message = side.heartbeat(host, time=at)
        raw = seal(message, Signer(side.keys[host]), iss=host, aud=CENTRAL, iat=self.now)
        self.books.take((host, raw), at=self.now)


@pytest.fixture
def centre(books: Books, monkeypatch: pytest.MonkeyPatch) -> Centre:
    """Its database is on the same machine, and has the same clock."""
    monkeypatch.setattr(clock, "_of_database", lambda _, now: now)
    return Centre(books)


@pytest.mark.parametrize("leap", [2 * HOUR, 3 * 365 * DAY])
def test_a_clock_that_leaps_ends_nothing_until_it_is_set_right(centre: Centre, leap: float) -> None:
    right = centre.now
    assert centre.after(2, leap=leap) == "dispatched"
    centre.beat(clock=right + 4)
    for _ in range(3):
        assert centre.after(LOST_AFTER / 2) == "dispatched"
    assert centre.after(2, leap=-leap) == "dispatched"
    centre.beat()
    assert centre.after(2) == "dispatched"
    assert centre.silence() == "lost", "a host that is silent by a right clock is lost as ever"


def test_a_host_that_was_heard_by_a_wrong_clock_alone_is_silent_from_then_on(centre: Centre) -> None:
    assert centre.after(2, leap=20 * DAY) == "dispatched"
    centre.beat()
    assert centre.after(2, leap=-20 * DAY) == "dispatched"
    centre.beat_of("BSC")
    assert centre.after(LOST_AFTER / 2) == "dispatched"
    assert centre.silence() == "lost"


def test_deadlines_pass_by_a_clock_that_has_leapt_once_a_host_confirms_it(
    centre: Centre, caplog: pytest.LogCaptureFixture
) -> None:
    """The machine was asleep over the last deadline: that has passed, and nobody was heard meanwhile."""
    over = centre.books.job_on(centre.experiment, "UB").release_by + HOUR - centre.now
    assert centre.after(2, leap=over) == "dispatched"
    assert caplog.text.count("deadlines.clock_doubted") == 1
    centre.beat()
    assert centre.after(2) == "lost"


def test_no_host_to_ask_is_waited_for_a_day(centre: Centre) -> None:
    assert centre.after(2, leap=12 * HOUR) == "dispatched"
    assert centre.silence() == "dispatched"
    assert centre.after(DAY) == "dispatched"
    with write_transaction(centre.books.engine) as connection:
        connection.execute(insert(kept).values(kind="audit", rows=0, removed=0, time=centre.now))
    assert centre.silence() == "lost"


def test_a_relay_that_did_not_run_has_heard_nobody(centre: Centre) -> None:
    assert centre.after(2 * LOST_AFTER) == "dispatched"
    assert centre.after(LOST_AFTER / 6) == "dispatched"
    assert centre.silence() == "lost", "it was silent by now for as long as the experiment waits"


def test_a_database_that_was_away_has_kept_no_word_of_a_host(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: object) -> None:
        raise UnavailableError("the database is away")

    with monkeypatch.context() as gone:
        gone.setattr(module, "serialized_transaction", away)
        for _ in range(20):
            with pytest.raises(UnavailableError):
                centre.after(LOST_AFTER / 10)
    assert centre.after(2) == "dispatched"
