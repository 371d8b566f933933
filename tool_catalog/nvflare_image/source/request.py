"""The parameters of tool.yaml, read and checked at every task again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from patches.settings import BOUNDS, Settings, read_settings


@dataclass(frozen=True)
class Request(Settings):
    """How to train; seconds are wall-clock."""

    local_epochs: int = 2
    round_seconds: int = 300

    @property
    def patience(self) -> float:
        """How long a host waits for its next task: the slowest host may have its own before it, and the server, too."""
        return float(self.join_seconds + 3 * self.round_seconds)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_request(path: Path) -> Request:
    """The request in the parameters file; raises Fault naming the parameter that is wrong."""
    bounds = BOUNDS | {"rounds": (1, 100), "local_epochs": (1, 100), "round_seconds": (1, 3600)}
    return read_settings(path, Request, bounds)
