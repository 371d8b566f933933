"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regression.faults import Fault
from regression.formula import Formula, parse
from regression.jsonfile import check_known, choice, read_object, text, whole

KNOWN = ("formula", "table", "missing", "min_cell", "secure_sums")


@dataclass(frozen=True)
class Request:
    """The checked parameters. No ``table`` is the dataset's only one."""

    formula: Formula
    table: str
    missing: str
    min_cell: int
    secure_sums: bool = False

    def as_json(self) -> dict[str, Any]:
        """The normalised request: equal requests give equal objects, by which sites' answers are compared."""
        return {
            "formula": self.formula.given,
            "min_cell": self.min_cell,
        }


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises Fault naming the parameter that is wrong."""
    given = read_object(path, "parameters")
    check_known(given, KNOWN)
    return Request(
        formula=parse(text(given, "formula", longest=2000)),
        table=text(given, "table", ""),
        missing=choice(given, "missing", ("refuse", "leave_out")),
        min_cell=whole(given, "min_cell", 10, 5, 10_000),
        secure_sums=_truth(given, "secure_sums"),
    )


def _truth(given: dict[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise Fault(f"parameters: {name}: must be true or false")
    return value
