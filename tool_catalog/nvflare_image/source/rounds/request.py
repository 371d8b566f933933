"""The parameters that tools of this kind have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from regression.formula import Formula, parse
from regression.jsonfile import choice, text, whole

KNOWN = ("formula", "table", "missing", "min_cell", "max_rounds", "join_seconds", "round_seconds")


@dataclass(frozen=True)
class Request:
    """The checked parameters. No ``table`` is the dataset's only one; seconds are wall-clock."""

    formula: Formula
    table: str
    missing: str
    min_cell: int
    max_rounds: int
    join_seconds: int
    round_seconds: int

    def as_json(self) -> dict[str, Any]:
        """What hosts must have been asked alike, normalised."""
        return {
            "formula": self.formula.given,
            "table": self.table,
            "missing": self.missing,
            "min_cell": self.min_cell,
        }

    @property
    def patience(self) -> float:
        """The longest time for which a host hears nothing from the server, as it waits for the slowest host."""
        return float(max(self.join_seconds, self.round_seconds) + 30)


def common(given: dict[str, Any], *, outcome: bool) -> dict[str, Any]:
    """The values of :class:`Request`'s fields. Raises Fault naming the parameter that is wrong."""
    return {
        "formula": parse(text(given, "formula", longest=2000), outcome=outcome),
        "table": text(given, "table", ""),
        "missing": choice(given, "missing", ("refuse", "leave_out")),
        "min_cell": whole(given, "min_cell", 10, 5, 10_000),
        "max_rounds": whole(given, "max_rounds", 25, 1, 50),
        "join_seconds": whole(given, "join_seconds", 120, 1, 3600),
        "round_seconds": whole(given, "round_seconds", 60, 1, 3600),
    }
