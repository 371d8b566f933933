"""What a tool brings to a training: how one site learns, and how the server begins and what it averages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from .moments import Moments

Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class Measured:
    """How the global model does at one host: its mean loss over the rows that it was trained on, and held-out ones.

    Without held-out rows ``test_rows`` is 0, and ``test_loss`` and ``accuracy`` are None.
    """

    train_rows: int
    loss: float
    test_rows: int = 0
    test_loss: float | None = None
    accuracy: float | None = None


class Learner(Protocol):
    """One site's side, with so many ``rows`` to train on.

    ``names`` are the columns of :meth:`moments`, which all hosts must have in this order; ``shapes`` are those of the
    only model that this site trains.
    """

    names: tuple[str, ...]
    rows: int
    shapes: tuple[tuple[int, ...], ...]

    def moments(self) -> Moments:
        """Of the rows that are trained on."""
        ...

    def train(self, arrays: Arrays, number: int) -> Arrays:
        """The model ``arrays`` after this site's part of round ``number``; of the same shapes and types."""
        ...

    def measure(self, arrays: Arrays) -> Measured: ...


@dataclass(frozen=True)
class Learning:
    """The server's side. ``start`` makes the first model from columns and the moments of all hosts' rows together.

    The first ``averaged`` arrays of a model are learned; the others stay as ``start`` made them, whatever hosts send.
    ``held_out`` says whether hosts measure on held-out rows, too.
    """

    start: Callable[[tuple[str, ...], Moments], Arrays]
    averaged: int
    held_out: bool


@dataclass(frozen=True)
class Limits:
    """``least`` hosts must reply in every round; seconds are wall-clock."""

    rounds: int
    join_seconds: int
    round_seconds: int
    least: int
