"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regression.faults import Fault
from regression.formula import Formula, parse
from regression.jsonfile import check_known, choice, read_object, text, whole

WHOLE = {  # usual, lowest, highest
    "min_cell": (10, 5, 10_000),
    "rounds": (1, 1, 20),
    "join_seconds": (120, 1, 3600),
    "task_seconds": (60, 1, 3600),
}


@dataclass(frozen=True)
class Request:
    """What to fit, and how long to wait, in wall-clock seconds. No ``table`` is the dataset's only one."""

    formula: Formula
    table: str
    missing: str
    min_cell: int
    rounds: int
    join_seconds: int
    task_seconds: int

    @property
    def patience(self) -> float:
        """How long a host waits for its next task: the slowest host may have its own before it, and the server, too."""
        return self.join_seconds + 3 * self.task_seconds

    def as_json(self) -> dict[str, Any]:
        """What hosts must have been asked for alike."""
        return {"formula": self.formula.given, "min_cell": self.min_cell}


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises Fault naming the parameter that is wrong."""
    given = read_object(path, "parameters")
    check_known(given, ("formula", "table", "missing", *WHOLE))
    formula = parse(text(given, "formula", longest=2000))
    if not formula.intercept:
        raise Fault("parameters: formula: it must have an intercept")
    return Request(
        formula=formula,
        table=text(given, "table", ""),
        missing=choice(given, "missing", ("refuse", "leave_out")),
        **{name: whole(given, name, *bounds) for name, bounds in WHOLE.items()},
    )
