"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regression.faults import Fault
from regression.jsonfile import check_known, read_object, whole

WHOLE = {  # usual, lowest, highest
    "size": (32, 8, 224),
    "rounds": (5, 1, 200),
    "local_epochs": (2, 1, 100),
    "batch": (16, 2, 256),
    "every": (4, 2, 10),
    "min_persons": (5, 5, 10_000),
    "seed": (42, 0, 2**31 - 1),
    "join_seconds": (180, 1, 3600),
    "round_seconds": (300, 1, 3600),
}


@dataclass(frozen=True)
class Request:
    """How to train; ``size`` is in pixels and even, seconds are wall-clock, one person in ``every`` is held out."""

    learning_rate: float
    size: int
    rounds: int
    local_epochs: int
    batch: int
    every: int
    min_persons: int
    seed: int
    join_seconds: int
    round_seconds: int

    @property
    def patience(self) -> float:
        """How long a host waits for the researcher's next message."""
        return self.join_seconds + self.round_seconds + 30

    def model_args(self) -> dict[str, Any]:
        return {"size": self.size}

    def training_args(self) -> dict[str, Any]:
        """As Fed-BioMed takes them; a batch of one patch, of which no moments can be had, is left out."""
        return {
            "epochs": self.local_epochs,
            "loader_args": {"batch_size": self.batch, "drop_last": True},
            "optimizer_args": {"lr": self.learning_rate},
            "random_seed": self.seed,
            "log_interval": 1_000_000,
        }


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises Fault naming the parameter that is wrong."""
    given = read_object(path, "parameters")
    check_known(given, ("learning_rate", *WHOLE))
    rate = given.get("learning_rate", 0.001)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not math.isfinite(rate) or not 0 < rate <= 1:
        raise Fault("parameters: learning_rate: must be a number above 0, at most 1")
    request = Request(float(rate), **{name: whole(given, name, *bounds) for name, bounds in WHOLE.items()})
    if request.size % 2:
        raise Fault("parameters: size: must be even")
    return request
