"""How many of a dataset's rows an analysis used, and how many it left out: what a reader of its result must know.

Few rows that were left out are not told: their number, beside that of all rows, would speak of a few persons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .answers import Answer

WHY = "a value is missing"
WITHHELD = "fewer than min_cell rows were left out, or a group is withheld"


@dataclass(frozen=True)
class Rows:
    """Of one dataset; ``left_out`` is None where it is not told."""

    used: int
    left_out: int | None

    def as_json(self) -> dict[str, Any]:
        """What a site says."""
        if self.left_out is None:
            return {"withheld": WITHHELD}
        return {"used": self.used, "left_out": self.left_out}

    def told(self, host: str, dataset: str, version: str) -> dict[str, Any]:
        """One entry of a result's ``rows`` (docs/tools.md)."""
        why = WITHHELD if self.left_out is None else WHY if self.left_out else None
        read = None if self.left_out is None else self.used + self.left_out
        counts = {"read": read, "used": self.used, "left_out": self.left_out}
        return {"host": host, "dataset": dataset, "version": version, **counts, "why": why}


def rows_of(used: int, left_out: int, least: int) -> Rows:
    """With what was left out as far as it may be told: nobody, or at least ``least``."""
    return Rows(used, left_out if left_out == 0 or left_out >= least else None)


def read_rows(answer: Answer, used: int, least: int) -> Rows:
    """What a host says under ``rows``; raises Fault naming host and field."""
    part = answer.part("rows")
    if part.holds("withheld", WITHHELD):
        part.check(("withheld",))
        return Rows(used, None)
    part.check(("left_out",), used=used)
    rows = rows_of(used, part.count("left_out"), least)
    if rows.left_out is None:
        raise part.wrong("left_out is a small count that should not have left the site")
    return rows
