"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regression.faults import Fault
from regression.formula import Formula, parse
from regression.jsonfile import check_known, choice, read_object, text, whole

WHOLE = {  # usual, lowest, highest
    "min_cell": (10, 5, 10_000),
    "rounds": (20, 1, 200),
    "updates": (500, 1, 100_000),
    "batch": (5, 1, 10_000),
    "seed": (12342, 0, 2**31 - 1),
    "join_seconds": (180, 1, 3600),
    "round_seconds": (120, 1, 3600),
}
FASTEST = 1.0


@dataclass(frozen=True)
class Request:
    """How to train, and how long to wait, in wall-clock seconds. No ``table`` is the dataset's only one.

    ``standards`` are mean and deviation by term, of the columns that are to be standardised.
    """

    formula: Formula
    table: str
    missing: str
    standards: Mapping[str, tuple[float, float]]
    learning_rate: float
    min_cell: int
    rounds: int
    updates: int
    batch: int
    seed: int
    join_seconds: int
    round_seconds: int

    @property
    def patience(self) -> float:
        """How long a host waits for the researcher's next message."""
        return self.join_seconds + self.round_seconds + 30

    def model_args(self, terms: int) -> dict[str, Any]:
        """As Fed-BioMed's FedSGDRegressor takes them: scikit-learn's, without penalty."""
        return {
            "n_features": terms,
            "eta0": self.learning_rate,
            "penalty": None,
            "random_state": self.seed,
            "verbose": 0,
        }

    def training_args(self) -> dict[str, Any]:
        return {"num_updates": self.updates, "loader_args": {"batch_size": self.batch}, "log_interval": self.updates}

    def standards_of(self, terms: Sequence[str]) -> tuple[list[float], list[float]]:
        """Means and deviations of all terms; 0 and 1 for a column as it is. Raises Fault for a term that is none."""
        if unknown := sorted(self.standards.keys() - set(terms)):
            raise Fault(f"parameters: standards: the model has no {', '.join(unknown)}; it has {', '.join(terms)}")
        pairs = [self.standards.get(term, (0.0, 1.0)) for term in terms]
        return [mean for mean, _ in pairs], [deviation for _, deviation in pairs]


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises Fault naming the parameter that is wrong."""
    given = read_object(path, "parameters")
    check_known(given, ("formula", "table", "missing", "standards", "learning_rate", *WHOLE))
    formula = parse(text(given, "formula", longest=2000))
    if not formula.intercept:
        raise Fault("parameters: formula: it must have an intercept")
    return Request(
        formula=formula,
        table=text(given, "table", ""),
        missing=choice(given, "missing", ("refuse", "leave_out")),
        standards=_standards(given.get("standards", {})),
        learning_rate=_rate(given.get("learning_rate", 0.005)),
        **{name: whole(given, name, *bounds) for name, bounds in WHOLE.items()},
    )


def _standards(given: Any) -> dict[str, tuple[float, float]]:
    if not isinstance(given, dict):
        raise Fault("parameters: standards: must be an object: mean and deviation by term")
    return {term: _pair(term, pair) for term, pair in given.items()}


def _pair(term: str, pair: Any) -> tuple[float, float]:
    if not isinstance(pair, list) or len(pair) != 2 or not all(_is_number(value) for value in pair) or pair[1] <= 0:
        raise Fault(f"parameters: standards: {term}: must be a mean and a deviation above 0")
    return float(pair[0]), float(pair[1])


def _rate(value: Any) -> float:
    if not _is_number(value) or not 0 < value <= FASTEST:
        raise Fault(f"parameters: learning_rate: must be a number above 0, at most {FASTEST:g}")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
