"""Trying again."""

from __future__ import annotations

import pytest

from fedproc.common.retry import Backoff, attempts, persistently


def test_pauses_grow_up_to_the_longest_and_begin_again() -> None:
    backoff = Backoff(1, 4)
    for nominal in (1, 2, 4, 4):
        assert nominal * 0.5 <= backoff.pause() <= nominal * 1.5
    backoff.reset()
    assert backoff.pause() <= 1.5


async def test_attempt_is_made_until_it_works_and_each_wait_is_told() -> None:
    told: list[tuple[str, float]] = []
    errors = iter([OSError("one"), OSError("two")])

    async def attempt() -> str:
        for error in errors:
            raise error
        return "done"

    retrying = persistently(OSError, first=0.001, longest=0.01, waiting=lambda f, s: told.append((str(f), s)))
    assert await retrying(attempt) == "done"
    assert [text for text, _ in told] == ["one", "two"]
    assert all(0 < seconds < 0.02 for _, seconds in told)


async def test_pauses_of_what_gets_on_begin_again() -> None:
    """An upload of hours over a link that is cut every minute would else wait more and more."""
    told: list[float] = []
    reached = iter([0, 0, 0, 0, 1, 1, 2, 2])

    async def attempt() -> None:
        if len(told) < 7:
            raise OSError("cut")

    def waiting(_: BaseException, seconds: float) -> None:
        told.append(seconds)

    await persistently(OSError, first=0.0001, longest=1, waiting=waiting, progress=lambda: next(reached))(attempt)
    nominal = [0.0001 * 2**n for n in (0, 1, 2, 0, 1, 0, 1)]
    assert all(one * 0.5 <= seconds <= one * 1.5 for one, seconds in zip(nominal, told, strict=True)), told


def test_other_faults_end_it_at_once() -> None:
    def attempt() -> None:
        raise KeyError("other")

    with pytest.raises(KeyError):
        attempts(3, OSError, first=0.001, longest=0.01, waiting=lambda *_: None)(attempt)


def test_last_fault_is_raised_as_it_is() -> None:
    made: list[int] = []

    def attempt() -> None:
        made.append(1)
        raise OSError(f"number {len(made)}")

    with pytest.raises(OSError, match="number 3"):
        attempts(3, OSError, first=0.001, longest=0.01, waiting=lambda *_: None)(attempt)
