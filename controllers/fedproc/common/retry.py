"""Trying again: pauses that grow, with jitter, so that those who wait for one thing do not come back all at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_never
from tenacity.stop import stop_base
from tenacity.wait import wait_base

Errors = type[BaseException] | tuple[type[BaseException], ...]
Waiting = Callable[[BaseException, float], None]
"""is told the fault and the seconds until the next attempt"""


class Backoff:
    """Pauses in seconds: from ``first`` on each twice the last, ``longest`` at most, each half to one and a half."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def reset(self) -> None:
        """Begin again: what was tried has worked."""
        self._next = self._first

    def pause(self) -> float:
        """The pause before the next attempt."""
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause * random.uniform(0.5, 1.5)  # noqa: S311


def persistently(errors: Errors, *, first: float, longest: float, waiting: Waiting) -> AsyncRetrying:
    """Call an attempt again and again until it raises none of ``errors``; whoever cancels it ends that."""
    return AsyncRetrying(**_plan(errors, first, longest, waiting), stop=stop_never)


def attempts(most: int, errors: Errors, *, first: float, longest: float, waiting: Waiting) -> Retrying:
    """The same for a thread, at most ``most`` times; the last fault is raised as it is."""
    return Retrying(**_plan(errors, first, longest, waiting), stop=_stop(most))


def _stop(most: int) -> stop_base:
    return stop_after_attempt(most)


def _plan(errors: Errors, first: float, longest: float, waiting: Waiting) -> dict[str, Any]:
    return {
        "retry": retry_if_exception_type(errors),
        "wait": _Growing(first, longest),
        "before_sleep": lambda state: _tell(waiting, state),
        "reraise": True,
    }


class _Growing(wait_base):
    """tenacity's form of :class:`Backoff`."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest

    def __call__(self, retry_state: RetryCallState) -> float:
        pause = min(self._first * 2.0 ** min(retry_state.attempt_number - 1, 60), self._longest)
        return pause * random.uniform(0.5, 1.5)  # noqa: S311


def _tell(waiting: Waiting, state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    if error is not None and state.next_action is not None:
        waiting(error, state.next_action.sleep)
