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
Progress = Callable[[], object]
"""how far it has come"""


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


def persistently(
    errors: Errors, *, first: float, longest: float, waiting: Waiting, progress: Progress = lambda: None
) -> AsyncRetrying:
    """Call an attempt again and again until it raises none of ``errors``; whoever cancels it ends that.

    Pauses begin again with the first one as often as ``progress`` has changed: what is cut, but goes on, is not slowed.
    """
    return AsyncRetrying(**_plan(errors, _Growing(first, longest, progress), waiting), stop=stop_never)


def attempts(most: int, errors: Errors, *, first: float, longest: float, waiting: Waiting) -> Retrying:
    """The same for a thread, at most ``most`` times; the last fault is raised as it is."""
    return Retrying(**_plan(errors, _Growing(first, longest), waiting), stop=_stop(most))


def _stop(most: int) -> stop_base:
    return stop_after_attempt(most)


def _plan(errors: Errors, wait: wait_base, waiting: Waiting) -> dict[str, Any]:
    return {
        "retry": retry_if_exception_type(errors),
        "wait": wait,
        "before_sleep": lambda state: _tell(waiting, state),
        "reraise": True,
    }


class _Growing(wait_base):
    """tenacity's form of :class:`Backoff`."""

    def __init__(self, first: float, longest: float, progress: Progress = lambda: None) -> None:
        self._backoff = Backoff(first, longest)
        self._progress = progress
        self._reached = progress()

    def __call__(self, retry_state: RetryCallState) -> float:
        if (reached := self._progress()) != self._reached:
            self._reached = reached
            self._backoff.reset()
        return self._backoff.pause()


def _tell(waiting: Waiting, state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    if error is not None and state.next_action is not None:
        waiting(error, state.next_action.sleep)
