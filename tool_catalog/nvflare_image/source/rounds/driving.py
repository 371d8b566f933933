"""The server's computation: hosts introduce themselves, then their likelihoods are maximised together."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from regression.answers import Answer, same
from regression.rows import Rows, read_rows

from .evaluation import Evaluation
from .messages import Ask, finished
from .newton import Maximum, Progress, maximise
from .serving import Rounds, serving
from .standard import Moments, Standard

Array = npt.NDArray[np.float64]
INTERCEPT = "Intercept"
MOST_TERMS = 1000
KEYS = ("dataset", "columns", "terms", "n", "rows", "events", "smallest_group", "means", "squares")


@dataclass(frozen=True)
class Introduced:
    """A host's checked introduction. ``events`` are the persons of whom the outcome is true."""

    host: str
    dataset: str
    version: str
    columns: Any
    terms: tuple[str, ...]
    events: int
    moments: Moments
    rows: Rows

    @staticmethod
    def read(answer: Answer, request: dict[str, Any], least: int) -> Introduced:
        """Raises Fault naming host and field."""
        answer.check(KEYS, schema_version=1, request=request)
        dataset = answer.part("dataset")
        dataset.check(("id", "version"))
        answer.persons("smallest_group", least)
        terms = answer.texts("terms", MOST_TERMS)
        squares, n = answer.vector("squares", len(terms)), answer.persons("n", least)
        if (squares < 0).any():
            raise answer.wrong("squares must not be negative")
        return Introduced(
            host=answer.host,
            dataset=dataset.text("id"),
            version=dataset.text("version"),
            columns=answer.objects("columns", MOST_TERMS),
            terms=terms,
            events=answer.persons("events", least),
            moments=Moments(n, answer.vector("means", len(terms)), squares),
            rows=read_rows(answer, n, least),
        )

    def as_json(self) -> dict[str, Any]:
        """One entry of a result's ``hosts``."""
        counts = {"n": self.moments.n, "events": self.events}
        return {"host": self.host, "dataset": self.dataset, "version": self.version, **counts}

    def rows_as_json(self) -> dict[str, Any]:
        """One entry of a result's ``rows``."""
        return self.rows.told(self.host, self.dataset, self.version)


@dataclass(frozen=True)
class Estimates:
    """The maximum for the terms as they are, in the order of ``terms``, with the intercept first if there is one."""

    terms: tuple[str, ...]
    coefficients: Array
    covariance: Array
    maximum: Maximum


@dataclass(frozen=True)
class Plan:
    """What the server computes. ``least`` persons stand behind each count; rounds and seconds are limits.

    ``check`` raises Fault for introductions that do not go together with what is asked.
    """

    request: dict[str, Any]
    least: int
    intercept: bool
    centred: bool
    most_rounds: int
    join_seconds: float
    round_seconds: float
    check: Callable[[Sequence[Introduced]], None]


def drive(port: int, hosts: Sequence[str], plan: Plan, metrics: Path) -> tuple[list[Introduced], Estimates]:
    """Maximise over the rows of all ``hosts``; each round's progress is appended to ``metrics``.

    Raises Fault for introductions that do not fit together, and Broken for a host that is lost or what does not settle.
    """
    with serving(port, hosts) as rounds, metrics.open("a", encoding="utf-8") as stream:
        introduced = [Introduced.read(a, plan.request, plan.least) for a in rounds.gather(plan.join_seconds)]
        terms = same([(entry.host, entry.terms) for entry in introduced], "the terms")
        same([(entry.host, entry.columns) for entry in introduced], "types, units or categories of the columns")
        plan.check(introduced)
        estimates = _Driver(rounds, plan, terms, introduced, stream).estimates()
        rounds.reply(finished())
    return introduced, estimates


class _Driver:
    """Asks the hosts for one evaluation after the other."""

    def __init__(
        self, rounds: Rounds, plan: Plan, terms: tuple[str, ...], introduced: Sequence[Introduced], stream: Any
    ) -> None:
        self._rounds, self._plan, self._stream = rounds, plan, stream
        self._terms = (INTERCEPT, *terms) if plan.intercept else terms
        moments = reduce(Moments.__add__, (entry.moments for entry in introduced))
        self._standard = Standard.of(moments, centred=plan.centred)
        self._number, self._begun = 0, time.monotonic()

    def estimates(self) -> Estimates:
        found = maximise(self._evaluate, self._terms, self._plan.most_rounds, self._show)
        back = self._standard.back(intercept=self._plan.intercept)
        return Estimates(self._terms, back @ found.coefficients, back @ found.covariance @ back.T, found)

    def _evaluate(self, coefficients: Array) -> Evaluation:
        self._number += 1
        self._rounds.reply(Ask(self._number, coefficients, self._standard).body())
        answers = self._rounds.gather(self._plan.round_seconds)
        return reduce(Evaluation.__add__, (Evaluation.read(answer, len(self._terms)) for answer in answers))

    def _show(self, progress: Progress) -> None:
        seconds = round(time.monotonic() - self._begun, 3)
        told = {**asdict(progress), "hosts": len(self._rounds.hosts), "seconds": seconds}
        self._stream.write(json.dumps(told) + "\n")
        self._stream.flush()
        print(f"round {progress.round}: log likelihood {progress.log_likelihood:.6f}", flush=True)
