"""The picture of an experiment says when by times that a clock has."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from fedproc.central.api.pages import timeline
from fedproc.central.api.pages.rendering import environment

BEGIN = datetime(2026, 11, 30, tzinfo=UTC)


def ticks(seconds: float) -> list[tuple[float, str]]:
    experiment: Any = SimpleNamespace(created=BEGIN, ended=BEGIN + timedelta(seconds=seconds), jobs=())
    return list(timeline.of(experiment).ticks)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, ["start", "1 second", "2 seconds", "3 seconds"]),
        (7, ["start", "2 seconds", "4 seconds", "6 seconds"]),
        (67, ["start", "30 seconds", "1 minute"]),
        (200, ["start", "1 minute", "2 minutes", "3 minutes"]),
        (5 * 3600, ["start", "2 hours", "4 hours"]),
        (90 * 86400, ["start", "22 days 12 hours", "45 days", "67 days 12 hours"]),
    ],
)
def test_ticks_are_times_that_a_clock_has(seconds: float, told: list[str]) -> None:
    assert [text for _, text in ticks(seconds)] == told


@pytest.mark.parametrize("seconds", [0.3, 4, 59.9, 61, 86400])
def test_ticks_stand_where_their_time_is_and_within_the_picture(seconds: float) -> None:
    (first, _), (second, _), *others = ticks(seconds)
    places = [first, second, *(place for place, _ in others)]
    assert first == timeline.LABELS
    assert all(later - sooner == pytest.approx(second - first) for sooner, later in itertools.pairwise(places))
    assert places[-1] < timeline.WIDTH


def test_the_picture_of_what_goes_on_says_until_when_it_is_drawn() -> None:
    running: Any = SimpleNamespace(created=BEGIN, ended=None, jobs=())
    now = BEGIN + timedelta(minutes=3)
    assert timeline.of(running, now).as_of == now
    html = environment().get_template("timeline.html").render(picture=timeline.of(running, now))
    assert "As of <time" in html
    ended: Any = SimpleNamespace(created=BEGIN, ended=now, jobs=())
    assert timeline.of(ended, now).as_of is None
