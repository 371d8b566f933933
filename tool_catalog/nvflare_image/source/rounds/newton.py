"""Newton's method on a concave log likelihood, with steps halved where it would fall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from regression.faults import Broken
from regression.solving import scaled

from .evaluation import Evaluation

Array = npt.NDArray[np.float64]
ENOUGH = 1e-18
"""of the gradient in the inverse information's norm, about twice what the log likelihood still lacks"""
FAR = 15.0
"""standard deviations of a term: a coefficient of so many per unit hardly comes from data"""
SEPARATION = "as where the outcome can be told exactly from it (separation): leave it out, or join categories"


@dataclass(frozen=True)
class Maximum:
    """Where the log likelihood is highest. ``start`` is the one at all coefficients 0."""

    coefficients: Array
    covariance: Array
    log_likelihood: float
    start: float
    rounds: int


@dataclass(frozen=True)
class Progress:
    """One round, as it is shown while the computation runs."""

    round: int
    log_likelihood: float
    decrement: float


def maximise(
    evaluate: Callable[[Array], Evaluation], terms: Sequence[str], most: int, show: Callable[[Progress], None]
) -> Maximum:
    """Maximise over the coefficients of ``terms`` in at most ``most`` evaluations.

    Raises Fault naming a term that follows from others, and :class:`Broken` naming the one that does not settle.
    """
    search = _Search(evaluate, terms, most)
    while True:
        system = scaled(search.here.information, terms)
        step = system.solve(search.here.gradient)
        decrement = float(search.here.gradient @ step)
        show(Progress(search.rounds, search.here.log_likelihood, decrement))
        if decrement < ENOUGH:
            likelihoods = search.here.log_likelihood, search.start
            return Maximum(search.at, system.inverse(), *likelihoods, search.rounds)
        search.along(step)


class _Search:
    """Where it stands, and how often it has evaluated."""

    def __init__(self, evaluate: Callable[[Array], Evaluation], terms: Sequence[str], most: int) -> None:
        self._evaluate, self._terms, self._most = evaluate, terms, most
        self.at, self.rounds = np.zeros(len(terms)), 1
        self.here = evaluate(self.at)
        self.start = self.here.log_likelihood

    def along(self, step: Array) -> None:
        """Go so far that the log likelihood does not fall."""
        share = 1.0
        while True:
            if self.rounds >= self._most:
                raise _unsettled(self._terms, self.at, step, self._most)
            there, self.rounds = self._evaluate(self.at + share * step), self.rounds + 1
            if there.log_likelihood >= self.here.log_likelihood - _rounding(self.here):
                self.at, self.here = self.at + share * step, there
                return
            share /= 2


def _rounding(here: Evaluation) -> float:
    return 1e-12 * abs(here.log_likelihood)


def _unsettled(terms: Sequence[str], at: Array, step: Array, most: int) -> Broken:
    worst = int(np.argmax(np.abs(step)))
    why = f", {SEPARATION}" if np.abs(at[worst]) > FAR or np.abs(step[worst]) > 0.5 else ": allow more (max_rounds)"
    return Broken(f"the estimates do not settle in {most} rounds; {terms[worst]} still changes most{why}")
