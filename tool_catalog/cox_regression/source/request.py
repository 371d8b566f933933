"""What is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rounds.request import Request


@dataclass(frozen=True)
class Survival(Request):
    """The formula has a right side only: the outcome is the time until the event, or until observation ended."""

    time_column: str
    event_column: str

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "time_column": self.time_column, "event_column": self.event_column}
