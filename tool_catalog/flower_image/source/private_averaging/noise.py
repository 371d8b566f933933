"""What one site tells of its persons: means of contributions of bounded size, with normal noise.

The site computes the noise itself, from its own copy of the parameters: a server cannot ask for less. Whatever model a
server sends, a person's contribution stays within its size, and no number tells of one that cannot be computed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from averaging.faults import Broken
from averaging.learning import Measured

Array = npt.NDArray[np.float64]
MOST_LOSS = 4.0
"""to which the loss of one person is clipped before it is averaged"""


class Told:
    """All that is told of the persons trained on and held out; ``steps`` times, and by noise of this ``multiplier``."""

    def __init__(self, clip: float, steps: int, multiplier: float, train: int, held_out: int = 0) -> None:
        self._clip, self._left = clip, steps
        self._train, self._held_out = train, held_out
        self._multiplier = multiplier

    def gradient(self, blocks: Iterable[npt.NDArray[np.floating]]) -> Array:
        """The mean of the persons' gradients (blocks of persons by parameters), each shortened to the clip."""
        self._spend()
        total = sum((clipped(block, self._clip).sum(axis=0) for block in blocks), start=np.zeros(1))
        return self._noisy(total / self._train, 2 * self._clip, self._train)

    def measured(self, losses: Array, held_out: tuple[Array, Array] | None = None) -> Measured:
        """Mean losses of the persons, and of those held out with the shares that are told right."""
        self._spend()
        loss = self._noisy(np.array([capped(losses).mean()]), MOST_LOSS, self._train)[0]
        found = Measured(self._train, max(0.0, float(loss)))
        if held_out is None:
            return found
        shares = np.array([capped(held_out[0]).mean() / MOST_LOSS, held_out[1].mean()])
        test_loss, accuracy = self._noisy(shares, 2**0.5, self._held_out)
        return Measured(
            found.train_rows,
            found.loss,
            self._held_out,
            max(0.0, float(test_loss)) * MOST_LOSS,
            min(1.0, max(0.0, float(accuracy))),
        )

    def _noisy(self, mean: Array, reach: float, persons: int) -> Array:
        """``mean`` with noise, which one person can move by ``reach`` / persons at most (in the Euclidean norm)."""
        return mean + self._multiplier * reach / persons * normal(mean.size).reshape(mean.shape)

    def _spend(self) -> None:
        if not self._left:
            raise Broken("the server asks for more than differential privacy was accounted for: nothing is told")
        self._left -= 1


def normal(count: int) -> Array:
    """So many standard normal numbers, of the operating system's random ones (G. Box, M. Muller, 1958)."""
    whole = np.frombuffer(os.urandom(16 * count), np.uint64).reshape(2, count) >> np.uint64(11)
    first, second = (whole + 0.5) * 2.0**-53
    return np.asarray(np.sqrt(-2 * np.log(first)) * np.cos(2 * math.pi * second))


def clipped(gradients: npt.NDArray[np.floating], clip: float) -> Array:
    """Each row shortened to the length ``clip``, if it is longer; one that is not finite becomes nothing."""
    rows = np.asarray(gradients, dtype=np.float64)
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.where(np.isfinite(lengths), rows * np.minimum(1.0, clip / np.maximum(lengths, 1e-300)), 0.0)


def capped(losses: Array) -> Array:
    """Each loss, or :data:`MOST_LOSS` where it is higher or none."""
    return np.minimum(np.nan_to_num(losses, nan=MOST_LOSS, posinf=MOST_LOSS, neginf=0.0), MOST_LOSS)


def by_person(values: Array, whose: npt.NDArray[np.int64]) -> Array:
    """The mean of each person's rows, so that one with many counts no more than another."""
    counts = np.bincount(whose)
    total = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(total, whose, values)
    return np.asarray(total / counts.reshape(-1, *[1] * (values.ndim - 1)))
