"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from patches.settings import BOUNDS, Settings, read_settings
from private_averaging.asked import LIMITS, Protection


@dataclass(frozen=True)
class Request(Settings, Protection):
    """How to train; seconds are wall-clock."""

    local_epochs: int = 2
    round_seconds: int = 300

    @property
    def steps(self) -> int:
        """In each epoch, which is one step then, and once a round."""
        return self.rounds * (self.local_epochs + 1)


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises Fault naming the parameter that is wrong."""
    limits = {**BOUNDS, **LIMITS, "local_epochs": (1, 100), "round_seconds": (1, 3600)}
    request = read_settings(path, Request, limits)
    request.check()
    return request
