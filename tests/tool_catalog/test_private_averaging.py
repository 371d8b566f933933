"""What trainings with differential privacy share: contributions, noise, bounds, parameters. No training runs here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

LIBRARY = Path(__file__).parents[2] / "tool_catalog/library"
WIDE = {"epsilon": 1.0, "delta": 1e-5}


@pytest.fixture(scope="module", autouse=True)
def _as_tools_import_it() -> Iterator[None]:
    sys.path.insert(0, str(LIBRARY))
    yield
    sys.path.remove(str(LIBRARY))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("averaging", "private_averaging")]:
        del sys.modules[name]


@pytest.fixture
def noise() -> ModuleType:
    from private_averaging import noise

    return noise


def test_gradient_is_shortened_to_the_clip_and_none_is_made_longer(noise: ModuleType) -> None:
    rows = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], np.float32)
    np.testing.assert_allclose(noise.clipped(rows, 1.0), [[0.6, 0.8], [0.3, 0.4], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e200])
def test_contribution_that_cannot_be_computed_tells_nothing(noise: ModuleType, odd: float) -> None:
    """A server's model may be such that one person's number alone is none: it must not come through the sum."""
    rows = np.array([[odd, 1.0], [0.3, 0.4]])
    assert noise.clipped(rows, 1.0).tolist() == [[0, 0], [0.3, 0.4]]
    assert noise.capped(np.array([odd, 9.0, 0.5])).tolist() == [0 if odd == -np.inf else 4, 4, 0.5]


def test_one_person_moves_a_mean_by_no_more_than_the_noise_is_made_for(
    noise: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "normal", np.zeros)
    chance = np.random.default_rng(1)
    for size in (1e-3, 1.0, 1e9):
        before = chance.normal(0, 3, (20, 4))
        after = np.vstack([before[:-1], chance.normal(0, size, 4)])
        told = [noise.Told(0.7, 2, 1.0, 20) for _ in "ab"]
        moved = told[0].gradient([before[:9], before[9:]]) - told[1].gradient([after])
        assert np.linalg.norm(moved) <= 2 * 0.7 / 20
        losses = [abs(rows).sum(axis=1) for rows in (before, after)]
        assert abs(told[0].measured(losses[0]).loss - told[1].measured(losses[1]).loss) <= 4 / 20


def test_noise_is_normal_and_of_the_accounted_size(noise: ModuleType) -> None:
    count = 40_000
    told = noise.Told(0.5, 1, 3.0, 10).gradient([np.zeros((10, count))])
    deviation = 3.0 * 2 * 0.5 / 10
    assert told.std() == pytest.approx(deviation, rel=0.03)
    assert abs(told.mean()) < 5 * deviation / count**0.5
    assert (abs(told) < deviation).mean() == pytest.approx(0.6827, abs=0.02)
    assert (abs(told) < 2 * deviation).mean() == pytest.approx(0.9545, abs=0.01)
    assert len(set(told.tolist())) == count


def test_more_than_was_accounted_for_is_not_told(noise: ModuleType) -> None:
    told = noise.Told(1.0, 2, 1.0, 10)
    told.gradient([np.ones((10, 2))])
    told.measured(np.ones(10))
    with pytest.raises(Exception, match="more than differential privacy was accounted for"):
        told.gradient([np.ones((10, 2))])


def test_person_with_many_rows_counts_as_one(noise: ModuleType) -> None:
    whose = np.array([0, 1, 0, 0])
    assert noise.by_person(np.array([1.0, 5.0, 2.0, 3.0]), whose).tolist() == [2, 5]
    assert noise.by_person(np.array([[1.0, 0], [5, 1], [2, 0], [3, 9]]), whose).tolist() == [[2, 3], [5, 1]]


def test_columns_are_scaled_by_the_stated_bounds_and_not_by_the_rows() -> None:
    from private_averaging.bounds import ends, moments_of

    low, high = ends(("a", "b=x"), {"a": (5.0, 30.0)}, ("b=x",))
    moments = moments_of(40, low, high)
    assert (moments.n, moments.mean.tolist(), moments.deviation().tolist()) == (40, [17.5, 0.5], [12.5, 0.5])
    with pytest.raises(Exception, match="missing are c, d"):
        ends(("a", "c", "d"), {"a": (5.0, 30.0)}, ())


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"epsilon": 1.0}, "epsilon and delta: differential privacy needs both"),
        ({"delta": 1e-5}, "epsilon and delta: differential privacy needs both"),
        ({"bounds": {"a": [0, 1]}}, "bounds: they belong to epsilon and delta, or to secure_aggregation"),
        (WIDE | {"missing": "leave_out"}, "missing: with epsilon no rows can be left out"),
        (WIDE | {"steps": 100_001}, "at most 100000 steps"),
        (WIDE | {"bounds": {"a": [30, 5]}}, "bounds: must be an object"),
        (WIDE | {"bounds": {"a": [0, float("nan")]}}, "bounds: must be an object"),
        ({"epsilon": 0, "delta": 1e-5}, "epsilon: must be a number from 0.01 to 100"),
        ({"epsilon": True, "delta": 1e-5}, "epsilon: must be a number"),
        (WIDE | {"clip": None}, "clip: must be a number"),
        ({"secure_aggregation": "yes"}, "secure_aggregation: must be true or false"),
    ],
)
def test_half_of_it_is_refused_as_it_would_protect_nobody(given: dict[str, Any], text: str) -> None:
    from averaging.faults import Fault
    from private_averaging.asked import NAMES, Bounded, protection

    class Request(Bounded):
        steps = given.get("steps", 10)

    others = {name: value for name, value in given.items() if name not in (*NAMES, "steps")}
    with pytest.raises(Fault, match=text):
        Request(**others, **protection(given)).check()


def test_what_is_asked_for_as_a_whole_is_taken() -> None:
    from private_averaging.asked import Bounded, protection

    class Request(Bounded):
        steps = 10

    asked = Request(**protection(WIDE | {"bounds": {"a": [0, 1]}, "secure_aggregation": True}))
    asked.check()
    assert (asked.epsilon, asked.delta, asked.clip, asked.bounds) == (1.0, 1e-5, 1.0, {"a": (0.0, 1.0)})
    plain = Request(**protection({}))
    plain.check()
    assert (plain.epsilon, plain.secure_aggregation) == (None, False)
